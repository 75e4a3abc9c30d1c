"""The compiled kernels against plain programs in float64."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numba
import numpy as np
import pytest

from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses import grouping
from polyseme.workers.analysis.senses.find_senses import find_senses
from polyseme.workers.analysis.senses.grouping import BROAD_AT, LOOSER, NONE, cut, limit, link
from tests.workers.analysis.senses.made_up import to_evidence, to_material

Tree = tuple[np.ndarray, np.ndarray, np.ndarray]


def blocks(*sizes: int, inside: float = 0.9, outside: float = 0.05) -> np.ndarray:
    """Chances of contexts in so large groups: one inside of them, one between them."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.where(group[:, None] == group, inside, outside)
    np.fill_diagonal(chance, 1)
    return chance.astype(np.float32)


def random_chances(n: int, seed: int = 0, steps: int = 1000) -> np.ndarray:
    """Few steps give ties."""
    half = np.random.default_rng(seed).integers(0, steps + 1, (n, n)) / steps
    chance = np.triu(half, 1) + np.triu(half, 1).T + np.eye(n)
    return chance.astype(np.float32)


def link_all(chance: np.ndarray) -> Tree:
    """The n - 1 merges."""
    n = len(chance)
    left, right, height = np.zeros(n, np.int16), np.zeros(n, np.int16), np.zeros(n, np.float32)
    link(chance.copy(), left, right, height)
    return left[:-1], right[:-1], height[:-1]


def link_slowly(chance: np.ndarray) -> Iterator[tuple[set[int], float]]:
    """The contexts that each merge joins and their mean, from the definition: means over all pairs,
    anew for every two groups; of equal ones the first pair.
    """
    wide = chance.astype(np.float64)
    groups = [[i] for i in range(len(chance))]
    while len(groups) > 1:
        means = {
            (a, b): wide[np.ix_(groups[a], groups[b])].mean()
            for a, b in combinations(range(len(groups)), 2)
        }
        most = max(means.values())
        a, b = min(pair for pair, mean in means.items() if mean > most - 1e-9)
        groups[a] = groups[a] + groups.pop(b)
        yield set(groups[a]), most


def members(left: np.ndarray, right: np.ndarray) -> list[set[int]]:
    """The contexts of each piece, single ones first."""
    pieces = [{i} for i in range(len(left) + 1)]
    for a, b in zip(left, right, strict=True):
        pieces.append(pieces[a] | pieces[b])
    return pieces


@pytest.mark.parametrize("n", [2, 3, 9, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_merges_are_those_of_average_linkage(n: int, seed: int) -> None:
    chance = random_chances(n, seed)

    left, right, height = link_all(chance)

    expected = list(link_slowly(chance))
    assert members(left, right)[n:] == [joined for joined, _ in expected]
    assert height == pytest.approx([mean for _, mean in expected], abs=1e-5)


# Means of these are exact in float32, so that ties are ties.
def test_of_equal_means_the_first_pair_is_joined() -> None:
    left, right, _ = link_all(blocks(2, 2, inside=0.5, outside=0.5))
    assert list(zip(left, right, strict=True)) == [(0, 1), (4, 2), (5, 3)]

    left, right, _ = link_all(blocks(2, 2, 2, inside=0.75, outside=0.25))
    assert members(left, right)[6:9] == [{0, 1}, {2, 3}, {4, 5}]


@pytest.mark.parametrize("seed", range(4))
def test_ties_are_broken_as_by_definition(seed: int) -> None:
    # Chances of 0 and 1 in equal groups have means that are the same in both.
    chance = blocks(4, 4, 4, inside=1.0, outside=0.0)
    order = np.random.default_rng(seed).permutation(12)
    chance = chance[np.ix_(order, order)]

    left, right, height = link_all(chance)

    expected = list(link_slowly(chance))
    assert members(left, right)[12:] == [joined for joined, _ in expected]
    assert height.tolist() == [1.0] * 9 + [0.0] * 2


def limit_all(tree: Tree, least: int) -> np.ndarray:
    """(n - 1,) the `same_at` of each merge."""
    left, right, height = (np.append(column, column.dtype.type(0)) for column in tree)
    limit(left, right, height, least)
    return height[:-1]


def limit_slowly(chance: np.ndarray, tree: Tree, least: int) -> list[float]:
    wide, found = chance.astype(np.float64), dict[int, float]()
    pieces = members(*tree[:2])
    for step, (a, b) in enumerate(zip(*tree[:2], strict=True)):
        two = [sorted(pieces[a]), sorted(pieces[b])]
        mean = most = wide[np.ix_(*two)].mean()
        if min(map(len, two)) >= least:
            within = [np.mean([wide[i, k] for i, k in combinations(p, 2)]) for p in two]
            most = min(mean, mean / (LOOSER * min(within)))
        found[len(chance) + step] = min(most, found.get(a, np.inf), found.get(b, np.inf))
    return list(found.values())


@pytest.mark.parametrize("least", [2, 4, 100])
def test_groups_are_one_up_to_their_mean_or_its_share_of_that_within_the_looser(
    least: int,
) -> None:
    chance = random_chances(30, seed=5)
    tree = link_all(chance)

    assert limit_all(tree, least) == pytest.approx(limit_slowly(chance, tree, least), abs=1e-5)


def test_two_big_groups_must_be_nearly_as_alike_as_each_is_inside() -> None:
    def last(inside: float, least: int) -> float:
        return float(limit_all(link_all(blocks(5, 5, inside=inside, outside=0.4)), least)[-1])

    assert last(0.9, least=4) == pytest.approx(0.4 / (LOOSER * 0.9))
    assert last(0.5, least=4) == pytest.approx(0.4)  # loose themselves
    assert last(0.9, least=6) == pytest.approx(0.4)  # too small to be senses


def test_a_merge_is_never_allowed_before_those_inside_it() -> None:
    tree = link_all(random_chances(40, seed=6))
    height = limit_all(tree, 3)

    for step, pair in enumerate(zip(*tree[:2], strict=True)):
        for inside in pair:
            if inside >= 40:
                assert height[step] <= height[inside - 40]


def test_a_cut_joins_what_is_allowed_and_names_it_after_its_first_context() -> None:
    chance = blocks(3, 2, 4, outside=0.25)
    order = np.array([5, 0, 3, 6, 1, 4, 7, 2, 8])  # groups 2 0 1 2 0 1 2 0 2
    tree = tuple(np.append(c, c.dtype.type(0)) for c in link_all(chance[np.ix_(order, order)]))

    assert cut(*tree, 0.5).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0]
    assert cut(*tree, 0.2).tolist() == [0] * 9
    assert cut(*tree, 0.95).tolist() == list(range(9))


def name_senses(group: list[int], mass: list[float]) -> list[int]:
    sense = np.zeros(len(group), np.int32)
    grouping._name_senses(np.array(group), np.array(mass), sense)
    return sense.tolist()


def test_senses_are_numbered_by_their_mass_and_then_their_first_context() -> None:
    assert name_senses([0, 1, 1, 0, NONE], [1.0, 2, 2, 1, 9]) == [1, 0, 0, 1, NONE]
    assert name_senses([0, 1, 1, 0], [1.0, 1, 1, 1]) == [0, 1, 1, 0]
    assert name_senses([3, 1, 1, 3], [1.0, 1, 1, 1]) == [0, 1, 1, 0]


def test_groups_smaller_than_a_sense_are_dropped() -> None:
    group = np.array([0, 0, 2, 0, 2, 5])

    grouping._drop_small(group, 3)

    assert group.tolist() == [0, 0, NONE, 0, NONE, NONE]


def test_the_middle_of_a_sense_is_a_shown_context() -> None:
    chance = random_chances(8, seed=7)
    held = np.array([1, 2, 5, 7])
    inside = chance[np.ix_(held, held)].astype(np.float64) - np.eye(4)
    totals = inside.sum(1)

    for shown in (np.ones(8, bool), np.arange(8) == 5, np.arange(8) != held[totals.argmax()]):
        middle, within = grouping._middle(chance, held, shown)
        allowed = np.where(shown[held], totals, -1)
        assert middle == held[allowed.argmax()]
        assert within == pytest.approx(inside.sum() / 12, abs=1e-6)
    assert grouping._middle(chance, held, np.zeros(8, bool))[0] == NONE


def test_a_sense_of_one_context_has_no_pairs() -> None:
    middle, within = grouping._middle(random_chances(3), np.array([2]), np.ones(3, bool))

    assert middle == 2
    assert np.isnan(within)


def join_fields(broad: np.ndarray, sense: np.ndarray) -> tuple[list[int], float]:
    """The broad sense of each sense, and the largest mean between two of different ones."""
    field, count = np.zeros(len(sense), np.int32), int(sense.max()) + 1
    apart = grouping._join_fields(0, broad, sense, count, field)
    return field[:count].tolist(), apart


def between(*chances: float) -> tuple[np.ndarray, np.ndarray]:
    """Broad chances and senses of three senses of two, two and four contexts: given between 0 and
    1, 0 and 2, and 1 and 2.
    """
    sense = np.repeat([0, 1, 2], [2, 2, 4])
    means = np.ones((3, 3))
    for (a, b), chance in zip(((0, 1), (0, 2), (1, 2)), chances, strict=True):
        means[a, b] = means[b, a] = chance
    return means[sense[:, None], sense].astype(np.float32), sense


def test_senses_of_one_field_are_one_broad_sense() -> None:
    assert join_fields(*between(0.1, 0.75, 0.1)) == ([0, 1, 0], pytest.approx(0.1))
    assert join_fields(*between(0.2, 0.1, 0.4)) == ([0, 1, 2], pytest.approx(0.4))
    fields, apart = join_fields(*between(0.8, 0.7, 0.6))
    assert fields == [0, 0, 0]
    assert np.isnan(apart)


def test_fields_are_joined_by_the_mean_over_all_their_contexts() -> None:
    # 1 and 2 are joined first; 0 is then at (2 * 0.25 + 4 * x) / 6 of the two.
    enough, too_little = ((6 * (BROAD_AT + step) - 0.5) / 4 for step in (0.02, -0.02))

    assert join_fields(*between(0.25, enough, 0.9))[0] == [0, 0, 0]
    fields, apart = join_fields(*between(0.25, too_little, 0.9))
    assert fields == [0, 1, 1]
    # Between single senses, not between what they are joined to.
    assert apart == pytest.approx(too_little)


def test_no_senses_are_of_no_field() -> None:
    assert np.isnan(grouping._join_fields(0, blocks(3), np.full(3, NONE), 0, np.zeros(3, np.int32)))


def score_plainly(chance: np.ndarray, mass: np.ndarray) -> float:
    p, total = mass / mass.sum(), 0.0
    for i in range(len(p)):
        for k in range(len(p)):
            if i != k:
                total += p[i] * p[k] * chance[i, k]
    return total / (1 - (p**2).sum())


def interval_plainly(chance: np.ndarray, mass: np.ndarray) -> tuple[float, float]:
    """By leaving each context out in turn."""
    n = len(mass)
    rest = [np.delete(np.arange(n), i) for i in range(n)]
    left_out = np.array([score_plainly(chance[np.ix_(r, r)], mass[r]) for r in rest])
    logits, score = np.log(left_out / (1 - left_out)), score_plainly(chance, mass)
    reach = 1.645 * np.sqrt((n - 1) / n * ((logits - logits.mean()) ** 2).sum())
    middle = np.log(score / (1 - score))
    return 1 / (1 + np.exp(reach - middle)), 1 / (1 + np.exp(-reach - middle))


@pytest.mark.parametrize("n", [3, 12, 40])
def test_the_score_is_the_mean_chance_of_two_different_firings(n: int) -> None:
    chance = random_chances(n, seed=8)
    mass = np.random.default_rng(9).random(n) + 0.1

    alike, low, high = grouping._score(chance, mass)

    assert alike == pytest.approx(score_plainly(chance, mass))
    assert (low, high) == pytest.approx(interval_plainly(chance, mass), abs=1e-6)
    assert low < alike < high


@pytest.mark.parametrize(("inside", "score"), [(1.0, 1.0), (0.0, 0.0)])
def test_the_interval_of_contexts_that_all_agree_is_a_point(inside: float, score: float) -> None:
    alike, low, high = grouping._score(blocks(12, inside=inside), np.ones(12))

    assert alike == score
    assert (low, high) == pytest.approx((score, score), abs=2e-4)


@pytest.mark.parametrize("n", [20, 40, 120])
def test_the_level_does_not_depend_on_how_many_contexts_there_are(n: int) -> None:
    # A population of three meanings, of which two firings are the same in 0.38 of all cases.
    rng = np.random.default_rng(10)
    scores = []
    for _ in range(300):
        meaning = rng.choice(3, n, p=[0.5, 0.3, 0.2])
        chance = (meaning[:, None] == meaning).astype(np.float32)
        scores.append(grouping._score(chance, np.ones(n))[0])

    assert np.mean(scores) == pytest.approx(0.38, abs=4 * np.std(scores) / np.sqrt(300))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_contexts_have_no_score(n: int) -> None:
    assert np.isnan(grouping._score(blocks(n), np.ones(n))).all()


def test_one_context_with_all_the_activation_has_no_score() -> None:
    assert np.isnan(grouping._score(blocks(3), np.array([1.0, 0, 0]))).all()


def test_the_number_of_threads_changes_nothing() -> None:
    rng = np.random.default_rng(11)
    sizes = (0, 1, 2, 30, 41, 12, 25)
    material = to_material(rng.normal(size=(sum(sizes), 24)) + rng.normal(size=24))
    evidence = to_evidence(*sizes, mass=rng.random(sum(sizes)) + 0.1)
    threads = numba.get_num_threads()

    def find() -> dict[str, np.ndarray]:
        found = find_senses(evidence, material, None, Senses())
        columns = vars(found.tree) | found.scores | vars(found.table)
        return columns | {"of_contexts": found.sense}

    try:
        numba.set_num_threads(1)
        alone = find()
    finally:
        numba.set_num_threads(threads)
    for name, column in find().items():
        assert np.array_equal(column, alone[name], equal_nan=column.dtype.kind == "f"), name
