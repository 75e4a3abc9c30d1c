import math

import numpy as np
import pytest

from benchmarks.senses import metrics

TRUTH = np.array([0, 0, 0, 1, 1, 2])


@pytest.mark.parametrize("agreement", [metrics.adjusted_rand, metrics.v_measure, metrics.b_cubed])
def test_a_grouping_agrees_with_itself_whatever_its_groups_are_called(agreement):
    assert agreement(TRUTH, np.array([7, 7, 7, 2, 2, 0])) == pytest.approx(1)


def test_the_adjusted_rand_index_is_that_of_a_hand_case():
    # Pairs together: 3 and 1 in the truth, 1 and 1 and 1 in what is found, of which 1 and 1 in
    # both; 15 in all.
    found = np.array([0, 0, 1, 1, 2, 2])
    chance = 4 * 3 / 15
    assert metrics.adjusted_rand(TRUTH, found) == pytest.approx((1 - chance) / (3.5 - chance))


def test_the_adjusted_rand_index_of_random_groupings_is_about_zero():
    rng = np.random.default_rng(0)
    found = [
        metrics.adjusted_rand(rng.integers(0, 3, 40), rng.integers(0, 3, 40)) for _ in range(400)
    ]
    assert abs(np.mean(found)) < 0.01


def test_contexts_without_a_group_stand_alone():
    labels = metrics.alone(np.array([0, -1, 1, -1]))
    assert len(set(labels.tolist())) == 4


def test_one_group_for_two_equal_ones_is_complete_but_tells_nothing():
    assert metrics.v_measure(np.array([0, 0, 1, 1]), np.zeros(4, int)) == pytest.approx(0)


def test_b_cubed_is_that_of_a_hand_case():
    # One group for 2 + 2: each context's group is half its own concept, and holds all of it.
    assert metrics.b_cubed(np.array([0, 0, 1, 1]), np.zeros(4, int)) == pytest.approx(2 * 0.5 / 1.5)


def test_the_area_under_the_curve_counts_ties_half():
    assert metrics.auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)
    assert math.isnan(metrics.auroc(np.array([]), np.array([1.0])))


def test_rank_correlation_shares_the_ranks_of_equal_values():
    assert metrics.mean_ranks(np.array([5.0, 1.0, 5.0])).tolist() == [1.5, 0.0, 1.5]
    assert metrics.rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 1000])) == pytest.approx(
        1
    )
    assert math.isnan(metrics.rank_correlation(np.array([1, 2]), np.array([3, 3])))


def test_an_interval_holds_the_mean_and_narrows_with_the_units():
    values = np.random.default_rng(0).normal(size=400)
    low, high = metrics.interval(lambda drawn: float(values[drawn].mean()), 400)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
