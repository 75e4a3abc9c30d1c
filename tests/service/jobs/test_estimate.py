from __future__ import annotations

from polyseme.service.jobs.estimate import estimate_job
from tests.factories import make_card, make_corpus, make_request


def test_an_estimate_follows_from_characters_and_measured_speeds() -> None:
    card = make_card(characters_per_token=5.0, tokens_per_second=200.0)
    corpus = make_corpus(documents=10, characters=50_000)

    found = estimate_job(make_request(neurons={"layers": "0-1", "indices": "0-9"}), card, corpus)

    assert (found.tokens, found.windows) == (10_000, round(10_000 / 128 + 5))
    assert (found.layers, found.neurons) == (2, 20)
    assert found.seconds == 10_000 / 200 * 2 / 4  # two of four layers run


def test_without_any_measure_the_time_is_not_known() -> None:
    found = estimate_job(make_request(), make_card(), make_corpus(characters=4000))

    assert (found.tokens, found.seconds, found.measured) == (1000, None, False)
    assert found.to_dict()["estimate"] is True


def test_max_tokens_bounds_the_estimate() -> None:
    found = estimate_job(
        make_request(tokens={"max_tokens": 100}), make_card(), make_corpus(characters=400_000)
    )

    assert found.tokens == 100


def test_a_bos_in_every_window_counts() -> None:
    without = estimate_job(make_request(tokens={"bos": "never"}), make_card(), make_corpus())
    always = estimate_job(make_request(tokens={"bos": "always"}), make_card(), make_corpus())

    assert always.tokens - without.tokens == without.windows


def test_both_tails_need_more_memory_than_one() -> None:
    one = estimate_job(make_request(), make_card(), make_corpus())
    two = estimate_job(make_request(contexts={"tails": "both"}), make_card(), make_corpus())

    assert two.memory_bytes > one.memory_bytes
