"""Senses of made-up neurons whose contexts lie where the test puts them."""

from __future__ import annotations

import numpy as np
import pytest

from polyseme.contract.errors import Cancelled
from polyseme.contract.files.results import EVIDENCE_CONTEXTS, SURE
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses.find_senses import FEWEST_FIRINGS, find_senses
from polyseme.workers.analysis.senses.grouping import NONE
from polyseme.workers.analysis.senses.records import TailSenses
from tests.workers.analysis.senses.made_up import (
    RANDOM,
    random_tokens,
    to_evidence,
    to_material,
    unit,
)

WIDTH = 48


def make_contexts(*groups: int, loose: int = 0, seed: int = 1) -> np.ndarray:
    """Vectors: groups of so many close together, and `loose` ones anywhere."""
    rng = np.random.default_rng(seed)
    near = [rng.normal(size=WIDTH) + 0.15 * rng.normal(size=(n, WIDTH)) for n in groups]
    return unit(np.concatenate([*near, rng.normal(size=(loose, WIDTH))]))


def find(
    *neurons: np.ndarray,
    fires: np.ndarray | None = None,
    mass: np.ndarray | None = None,
    shown: np.ndarray | None = None,
    word: np.ndarray | None = None,
    uses: np.ndarray | None = None,
) -> TailSenses:
    """The senses of neurons with these contexts."""
    evidence = to_evidence(*map(len, neurons), mass=mass, shown=shown)
    material = to_material(np.concatenate(neurons), word, uses)
    return find_senses(evidence, material, fires, Senses())


def test_two_groups_of_words_that_lie_far_apart_are_two_senses() -> None:
    found = find(make_contexts(15, 15))

    assert found.sense.tolist() == [0] * 15 + [1] * 15
    assert found.scores["sense_count"].tolist() == [2]
    assert found.scores["broad_count"].tolist() == [2]
    assert found.scores["sure_count"].tolist() == [2]
    assert found.scores["sure_fields"].tolist() == [2]
    assert found.scores["coverage"].tolist() == [1]
    assert found.scores["unrelated"][0] == 1
    # Two firings are of one group in 14 of 29 cases.
    assert found.scores["polysemanticity"][0] == pytest.approx(15 / 29, abs=0.05)


def test_contexts_that_lie_anywhere_have_no_sense() -> None:
    found = find(make_contexts(loose=30))

    assert set(found.sense) == {NONE}
    for name in ("sense_count", "broad_count", "sure_count", "coverage"):
        assert found.scores[name].tolist() == [0]
    assert found.scores["polysemanticity"][0] > 0.8


def test_each_neuron_has_its_number_of_senses() -> None:
    found = find(make_contexts(30), make_contexts(15, 15, 10), make_contexts(12, loose=28))

    assert found.scores["sense_count"].tolist() == [1, 3, 1]
    assert found.scores["coverage"] == pytest.approx([1, 1, 12 / 40], abs=0.05)
    assert found.table.neuron.tolist() == [0, 1, 1, 1, 2]
    assert found.table.sense.tolist() == [0, 0, 1, 2, 0]


def test_of_fewer_than_ten_contexts_nothing_is_said() -> None:
    found = find(make_contexts(EVIDENCE_CONTEXTS - 1), make_contexts(), make_contexts(10))

    assert found.sense.tolist() == [NONE] * 9 + [0] * 10
    assert found.table.neuron.tolist() == [2]
    assert found.owner.tolist() == [NONE] * 9 + [0] * 10
    for column in found.scores.values():
        assert np.isnan(column[:2]).all()
    assert found.scores["sense_count"][2] == 1


def test_what_needs_control_units_is_not_said_here() -> None:
    scores = find(make_contexts(15, 15)).scores

    assert not {
        "status",
        "selectivity",
        *(name for name in scores if name.endswith("_percentile")),
    } & set(scores)


def test_effective_senses_are_one_over_the_chance_of_the_same() -> None:
    scores = find(make_contexts(20, 10, 8), make_contexts(30), make_contexts(loose=30)).scores

    assert scores["effective_senses"] == pytest.approx(1 / (1 - scores["polysemanticity"]))
    assert (scores["polysemanticity_low"] <= scores["polysemanticity"]).all()
    assert (scores["polysemanticity"] <= scores["polysemanticity_high"]).all()


def test_there_are_no_more_effective_senses_than_contexts() -> None:
    rng = np.random.default_rng(2)
    # Further apart from each other than any random tokens are.
    axes = np.linalg.qr(rng.normal(size=(WIDTH, 12)))[0].T
    opposed = np.concatenate([axes[:6], -axes[:6]])

    assert find(opposed).scores["effective_senses"][0] <= 12


def test_shares_follow_the_activations_and_the_largest_is_first() -> None:
    found = find(make_contexts(10, 20), mass=np.repeat([9.0, 0.5], [10, 20]))

    assert found.table.share.tolist() == [0.9, 0.1]
    assert found.table.size.tolist() == [10, 20]
    assert found.table.activation_median.tolist() == [9.0, 0.5]
    assert found.sense[:10].tolist() == [0] * 10


def test_activations_of_a_sense_are_those_of_its_contexts() -> None:
    mass = np.random.default_rng(3).random(30) + 0.5

    found = find(make_contexts(14, 16), mass=mass)

    for row, sense in enumerate(found.table.sense):
        own = mass[found.sense == sense]
        assert found.table.activation_min[row] == own.min()
        assert found.table.activation_median[row] == pytest.approx(np.median(own))
        assert found.table.activation_max[row] == own.max()


def test_a_neuron_does_not_change_what_is_found_in_another() -> None:
    one, other = make_contexts(15, 15, seed=3), make_contexts(10, 10, loose=9, seed=4)

    alone, together = find(other), find(one, other)

    assert np.array_equal(together.sense[30:], alone.sense)
    assert np.array_equal(together.tree.same[30:-1], alone.tree.same[:-1])
    assert together.scores["coverage"][1] == alone.scores["coverage"][0]
    assert together.scores["polysemanticity"][1] == alone.scores["polysemanticity"][0]


def test_tight_senses_are_alike_inside_and_not_between() -> None:
    table = find(make_contexts(15, 15)).table

    assert (table.within > 0.8).all()
    assert (table.between < 0.2).all()
    assert table.between[0] == pytest.approx(table.between[1])
    assert np.isnan(find(make_contexts(30)).table.between[0])


def test_a_medoid_is_a_shown_context_of_its_sense_where_it_has_one() -> None:
    shown = np.zeros(30, bool)
    shown[[3, 7]] = True

    found = find(make_contexts(15, 15), shown=shown)

    assert found.table.medoid[0] in (3, 7)
    assert found.table.medoid[1] == NONE


def test_a_large_tight_sense_is_sure_and_a_small_one_is_not() -> None:
    found = find(make_contexts(40, 4), mass=np.repeat([1.0, 0.1], [40, 4]))

    assert found.table.size.tolist() == [40, 4]
    assert (found.table.replication >= SURE).tolist() == [True, False]
    assert found.table.sure.tolist() == [True, False]
    assert found.scores["sure_count"].tolist() == [1]
    assert found.scores["sure_fields"].tolist() == [1]


def test_two_uses_of_one_word_are_two_senses() -> None:
    uses = np.zeros((24, 2))
    uses[::2, 0] = 1.0
    contexts, word = make_contexts(24), np.zeros(24)

    parted, whole = find(contexts, word=word, uses=uses), find(contexts, word=word)

    assert whole.scores["sense_count"].tolist() == [1]
    assert parted.scores["sense_count"].tolist() == [2]
    assert len(set(parted.sense[::2])) == len(set(parted.sense[1::2])) == 1
    assert parted.scores["polysemanticity"][0] > whole.scores["polysemanticity"][0] + 0.3


def test_a_sense_that_tells_where_its_neuron_fires_is_a_good_predictor() -> None:
    contexts = make_contexts(30)
    near = random_tokens(WIDTH) @ contexts.mean(0)
    fires = np.zeros((RANDOM, 1), np.int8)
    fires[np.argsort(-near)[:20]] = 1

    table = find(contexts, fires=fires).table

    assert table.auprc[0] > 0.9
    assert table.auprc_baseline[0] == pytest.approx(20 / RANDOM)


def test_a_neuron_that_hardly_fires_tests_no_sense() -> None:
    fires = np.zeros((RANDOM, 1), np.int8)
    fires[: FEWEST_FIRINGS - 1] = 1

    table = find(make_contexts(30), fires=fires).table

    assert np.isnan([table.auprc[0], table.auprc_baseline[0]]).all()


def test_no_neurons_have_no_senses() -> None:
    found = find(make_contexts())

    assert len(found.table.neuron) == 0
    assert np.isnan(found.scores["sense_count"]).all()


def test_a_search_that_is_stopped_raises() -> None:
    evidence, contexts = to_evidence(30), make_contexts(30)

    with pytest.raises(Cancelled):
        find_senses(evidence, to_material(contexts), None, Senses(), lambda: True)
