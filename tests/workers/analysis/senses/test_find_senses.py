"""Senses of made-up neurons whose contexts lie where the test puts them."""

from __future__ import annotations

import numpy as np
import pytest

from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses.background import Scale, to_unit
from polyseme.workers.analysis.senses.find_senses import FEWEST_FIRINGS, find_senses
from polyseme.workers.analysis.senses.records import Evidence, TailSenses
from polyseme.workers.analysis.senses.spaces import Space

WIDTH, RANDOM = 48, 600


def random_tokens(seed: int = 0) -> np.ndarray:
    return to_unit(np.random.default_rng(seed).normal(size=(RANDOM, WIDTH)))


def make_contexts(*groups: int, loose: int = 0, seed: int = 1) -> np.ndarray:
    """Unit vectors: groups of so many close together, and `loose` ones anywhere."""
    rng = np.random.default_rng(seed)
    near = [rng.normal(size=WIDTH) + 0.15 * rng.normal(size=(n, WIDTH)) for n in groups]
    return to_unit(np.concatenate([*near, rng.normal(size=(loose, WIDTH))]))


def find(
    *neurons: np.ndarray, fires: np.ndarray | None = None, mass: np.ndarray | None = None
) -> TailSenses:
    """The senses of neurons with these contexts, each context peaking on a token of its own."""
    random, vectors = random_tokens(), np.concatenate(neurons)
    count = len(vectors)
    evidence = Evidence(
        offsets=np.concatenate([[0], np.cumsum([len(n) for n in neurons])]).astype(np.int64),
        context=np.arange(count),
        place=np.arange(count),
        mass=np.ones(count) if mass is None else mass,
        token=np.arange(count, dtype=np.int32),
    )
    space = Space(vectors, random, (Scale.of(random),))
    return find_senses(evidence, space, fires, Senses(), np.arange(len(neurons), dtype=np.uint64))


def test_each_status_has_its_neuron() -> None:
    found = find(
        make_contexts(30),
        make_contexts(15, 15, 10),
        make_contexts(loose=30),
        make_contexts(12, loose=28),
        make_contexts(19),
        make_contexts(),
    )

    assert found.scores["status"].tolist() == [
        "monosemantic",
        "polysemantic",
        "incoherent",
        "incoherent",
        "insufficient_evidence",
        "insufficient_evidence",
    ]
    assert found.scores["sense_count"].tolist()[:4] == [1, 3, 0, 1]
    assert np.isnan(found.scores["sense_count"][4:]).all()


def test_a_score_is_given_to_coherent_neurons_only() -> None:
    found = find(make_contexts(15, 15), make_contexts(12, loose=28), make_contexts(10))

    assert found.scores["polysemanticity"][0] == pytest.approx(0.5)
    assert found.scores["effective_senses"][0] == pytest.approx(2)
    for name in (
        "polysemanticity",
        "polysemanticity_low",
        "polysemanticity_high",
        "effective_senses",
    ):
        assert np.isnan(found.scores[name][1:]).all()
    assert found.scores["coverage"][1] == pytest.approx(12 / 40, abs=0.05)


def test_shares_follow_the_activations_and_the_largest_is_first() -> None:
    found = find(make_contexts(10, 20), mass=np.repeat([9.0, 0.5], [10, 20]))

    assert found.table.share.tolist() == [0.9, 0.1]
    assert found.table.size.tolist() == [10, 20]
    assert found.table.activation_median.tolist() == [9.0, 0.5]
    assert found.sense[:10].tolist() == [0] * 10


def test_a_neuron_does_not_change_what_is_found_in_another() -> None:
    one, other = make_contexts(15, 15, seed=3), make_contexts(10, 10, loose=9, seed=4)

    alone, together = find(other), find(one, other)

    assert np.array_equal(together.sense[30:], alone.sense)
    assert np.array_equal(together.tree.height[30:-1], alone.tree.height[:-1])
    assert together.scores["coverage"][1] == alone.scores["coverage"][0]


def test_tight_senses_are_cohesive_and_far_from_each_other() -> None:
    table = find(make_contexts(15, 15)).table

    assert (table.cohesion < 0.02).all()
    assert (table.separation > 0.1).all()
    assert np.isnan(find(make_contexts(30)).table.separation[0])


def test_a_sense_that_tells_where_its_neuron_fires_is_a_good_predictor() -> None:
    contexts = make_contexts(30)
    near = random_tokens() @ contexts.mean(0)
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
    assert found.scores["status"].tolist() == ["insufficient_evidence"]
