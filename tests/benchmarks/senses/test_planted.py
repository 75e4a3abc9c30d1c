from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchmarks.senses.metrics import rank_correlation
from benchmarks.senses.planted import (
    Planted,
    adjusted_rand,
    draw_families,
    draw_planted,
    effective_number,
    report,
    score_neuron,
    stem,
    stemmed_names,
)


def make_row(senses: list[int | None], activations: list[float], **scores: Any) -> dict[str, Any]:
    contexts = [{"sense": s, "activation": a} for s, a in zip(senses, activations, strict=True)]
    return (
        {
            "contexts": contexts[:3],
            "evidence": contexts[3:],
            "status": "polysemantic",
            "sense_count": 2,
            "sure_count": 2,
            "effective_senses": 2.0,
        }
        | {"coverage": 1.0}
        | scores
    )


def test_a_family_is_present_when_it_has_enough_contexts_to_be_a_sense() -> None:
    planted = Planted(4, 7, ("birds", "drinks", "tax"))
    families = [0] * 5 + [1] * 4 + [2] * 3 + [-1]
    row = make_row([0] * 5 + [1] * 4 + [None] * 4, [2.0] * 5 + [2.5] * 4 + [9.0] * 4)

    scored = score_neuron(planted, row, families)

    assert (scored.planted, scored.present, scored.contexts) == (3, 2, 13)
    assert scored.effective == pytest.approx(2.0)  # a mass of 10 each
    assert scored.on_words == pytest.approx(12 / 13)
    assert scored.ari == 1.0


def test_two_families_in_one_sense_agree_no_better_than_chance() -> None:
    scored = score_neuron(
        Planted(4, 7, ("birds", "drinks")), make_row([0] * 8, [1.0] * 8), [0] * 4 + [1] * 4
    )

    assert scored.ari == 0.0


def test_unassigned_contexts_of_a_present_family_count_against_the_agreement() -> None:
    row = make_row([0, 0, 0, 0, 1, 1, None, None], [1.0] * 8)

    scored = score_neuron(Planted(4, 7, ("birds", "drinks")), row, [0] * 4 + [1] * 4)

    assert scored.ari_assigned == 1.0
    assert scored.ari is not None
    assert scored.ari < 1.0


def test_the_adjusted_rand_index_is_that_of_a_table_computed_by_hand() -> None:
    # Pairs together in both: 1 + 1; in one: 3 + 3, in the other: 1 + 1 + 1, of 15: (2 - 1.2) / (4.5
    # - 1.2).
    a, b = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])

    assert adjusted_rand(a, b) == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    assert adjusted_rand(a[:0], b[:0]) is None


def test_rank_correlation_gives_ties_their_mean_rank() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    # Ranks 1, 2.5, 2.5 and 1, 2, 3 give 1.5 / (sqrt(1.5) sqrt(2)).
    assert rank_correlation([1, 5, 5], [1, 2, 3]) == pytest.approx(1.5 / np.sqrt(3))


def test_the_effective_number_is_that_of_equal_shares_at_most() -> None:
    assert effective_number(np.array([3.0, 3.0, 3.0])) == pytest.approx(3)
    assert effective_number(np.array([5.0, 0.0])) == pytest.approx(1)
    assert effective_number(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_number(np.array([])) == 0


def test_a_neurons_families_are_of_different_fields_and_about_equally_common() -> None:
    fields = {f: {f"{f}{i}": ("x",) for i in range(3)} for f in "abcdef"}
    counts = Counter({f"{f}{i}": 100 * 3**i for f in fields for i in range(3)})
    rng = np.random.default_rng(0)

    for wanted in range(1, 6):
        chosen = draw_families(fields, counts, wanted, rng)
        assert len({name[0] for name in chosen}) == wanted
        assert max(counts[n] for n in chosen) <= 4 * min(counts[n] for n in chosen)


def test_every_layer_gets_as_many_neurons_with_each_number_of_families() -> None:
    fields = {f: {f"{f}{i}": ("x",) for i in range(3)} for f in "abcdef"}
    counts = Counter({f"{f}{i}": 100 for f in fields for i in range(3)})

    planted = draw_planted(fields, counts, (4, 12), seed=3)

    assert Counter((p.layer, len(p.families)) for p in planted) == {
        (layer, m): 5 for layer in (4, 12) for m in range(1, 6)
    }
    assert len({p.neuron for p in planted}) == 25


def test_other_forms_of_a_planted_word_are_of_its_family() -> None:
    names = stemmed_names({"doing": ("walked", "thinking"), "body": ("hands", "walk")})

    assert [names[stem(form)] for form in ("walks", "thinks", "hand", "hand's")] == [
        "body",
        "doing",
        "body",
        "body",
    ]
    assert names["walked"] == "doing"
    assert stem("is") not in names


def test_the_table_tells_how_often_the_status_fits_the_families_present() -> None:
    two = score_neuron(
        Planted(4, 7, ("birds", "drinks")),
        make_row([0] * 4 + [1] * 4, [1.0] * 8),
        [0] * 4 + [1] * 4,
    )
    split = make_row([0] * 4 + [1] * 4, [1.0] * 8, sure_count=1, status="monosemantic")
    one = score_neuron(Planted(4, 8, ("birds",)), split, [0] * 8)

    header, _, cells = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in report([two, one]).splitlines()[:3]
    )

    row = dict(zip(header, cells, strict=True))
    assert row["count exact"] == "0.50"
    assert row["sure senses exact"] == "1.00"
    assert row["one family in several senses"] == "1.00"
    assert row["one family polysemantic"] == "0.00"
    assert row["several polysemantic"] == "1.00"
    assert row["one monosemantic"] == "1.00"
