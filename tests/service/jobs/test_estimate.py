from __future__ import annotations

from polyseme.contract.records.planned import Planned, cut_of
from polyseme.service.jobs.estimate import estimate_job
from tests.factories import make_card, make_corpus, make_request


def test_an_estimate_follows_from_characters_and_measured_speeds() -> None:
    card = make_card(characters_per_token=5.0, tokens_per_second=200.0, neurons_per_second=4.0)
    corpus = make_corpus(documents=10, characters=50_000)

    found = estimate_job(make_request(neurons={"layers": "0-1", "indices": "0-9"}), card, corpus)

    assert (found.tokens, found.windows) == (10_000, round(10_000 / 128 + 5))
    assert (found.layers, found.neurons) == (2, 20)
    assert found.seconds == 10_000 / 200 * 2 / 4 + 20 / 4  # two of four layers run


def test_without_any_measure_the_time_is_not_known() -> None:
    found = estimate_job(make_request(), make_card(), make_corpus(characters=4000))

    assert (found.tokens, found.seconds, found.whole.source) == (1000, None, "assumed")
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


def test_a_corpus_that_was_cut_alike_has_its_tokens_from_there() -> None:
    request, corpus = make_request(contexts={"window": 64}), make_corpus(characters=4000)
    planned = {cut_of(request): Planned(tokens=777, windows=19)}

    found = estimate_job(request, make_card(), corpus, planned)

    assert (found.tokens, found.windows, found.whole.source) == (777, 19, "planned")


def test_a_corpus_that_was_cut_otherwise_has_its_own_ratio() -> None:
    planned = {cut_of(make_request(contexts={"window": 64})): Planned(tokens=800, windows=19)}
    card = make_card(characters_per_token=1.0)

    found = estimate_job(make_request(), card, make_corpus(characters=4000), planned)

    assert (found.tokens, found.whole.source) == (800, "corpus")


def test_without_senses_the_merges_are_left_out() -> None:
    card = make_card(characters_per_token=4.0, tokens_per_second=10.0, neurons_per_second=1.0)
    corpus = make_corpus(characters=4000)

    with_senses = estimate_job(make_request(), card, corpus)
    without = estimate_job(make_request(senses={"enabled": False}), card, corpus)

    assert (with_senses.seconds, without.seconds) == (100 + 4 * 48, 100)
