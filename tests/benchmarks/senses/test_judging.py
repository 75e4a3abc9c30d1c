"""The benchmark's quick subset: made-up vectors in place of a model's, so that no corpus and no
weights are needed.
"""

import numpy as np
import pytest

from benchmarks.senses import metrics
from benchmarks.senses.judging import Verdict, judge
from benchmarks.senses.material import compare_places, fit_background
from benchmarks.senses.report import error, exact, finds_rare
from benchmarks.senses.units import Unit
from polyseme.workers.analysis.senses.pairs import VECTORS

WIDTH, RANDOM = 64, 1_500


@pytest.fixture(scope="module")
def background():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1_000, (RANDOM, 8)).astype(np.int32)
    places = np.arange(RANDOM), np.full(RANDOM, 4)
    residual = rng.normal(size=(RANDOM, 2 * WIDTH)).astype(np.float16)
    words = [f"word {i}" for i in range(RANDOM)]
    around = rng.normal(size=(RANDOM, WIDTH))
    return fit_background(residual, around, 2, ids, *places, words, None)


def make_unit(name, sizes, noise, seed=0):
    """Contexts around a direction for each concept; as much noise as makes any two of them
    random.
    """
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), 2 * WIDTH))
    vectors = centres[truth] + noise * rng.normal(size=(len(truth), 2 * WIDTH))
    tokens = seed * 1_000 + np.arange(len(truth))
    mass = np.exp(rng.normal(0, 0.3, len(truth)))
    return Unit("T1", name, seed, name, np.arange(len(truth)), truth, mass), vectors, tokens


def judged(background, made):
    units, vectors, tokens = zip(*made, strict=True)
    residual = np.concatenate(vectors)
    projected = background.project(residual, np.zeros((len(residual), WIDTH)))
    tokens = np.concatenate(tokens)
    words = [f"word {token}" for token in tokens]
    near = tokens[:, None].astype(np.int32)
    material = compare_places(background, projected, words, tokens, near, VECTORS, None)
    return judge(units, material, tokens)


def test_groups_far_from_each_other_are_counted_and_told_apart(background):
    made = [make_unit(f"m{m}", [40 // m] * m, 0.4, seed) for m in range(1, 6) for seed in range(4)]
    verdicts = judged(background, made)
    assert exact(verdicts) == 1
    assert error(verdicts) == 0
    assert np.mean([metrics.adjusted_rand(v.unit.truth, v.sense) for v in verdicts]) > 0.99


def test_contexts_with_nothing_in_common_are_in_no_sense(background):
    verdicts = judged(background, [make_unit("random", [40], 50.0, seed) for seed in range(20)])
    assert {v.count for v in verdicts} == {0}


def test_a_unit_is_judged_the_same_alone_and_among_others(background):
    made = [
        make_unit("a", [25, 15], 0.6, 1),
        make_unit("b", [40], 0.6, 2),
        make_unit("c", [30, 10], 0.6, 3),
    ]
    together, alone = judged(background, made), [judged(background, [one])[0] for one in made]
    for a, b in zip(together, alone, strict=True):
        assert a.sense.tolist() == b.sense.tolist()
        assert a.scores["polysemanticity_low"] == b.scores["polysemanticity_low"]


def test_the_score_is_the_one_that_the_library_gives_and_else_that_of_the_labels(background):
    [verdict] = judged(background, [make_unit("two", [25, 15], 0.4)])
    labelled = Verdict(verdict.unit, verdict.sense, {})
    assert verdict.polysemanticity == verdict.scores["polysemanticity"]
    assert labelled.polysemanticity == pytest.approx(0.48, abs=0.05)
    assert verdict.covered == pytest.approx(verdict.scores["coverage"])


def test_a_rare_concept_is_found_only_where_a_sense_is_mostly_it():
    unit = make_unit("rare", [6, 5, 4], 0.4)[0]
    own = Verdict(unit, unit.truth, {})
    mixed = Verdict(unit, np.where(unit.truth == 2, 1, unit.truth), {})
    assert finds_rare(own)
    assert not finds_rare(mixed)
