"""Against published examples, hand-computed ones, and what the definitions give by exact sums and
by halving.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist, median

import numpy as np
import pytest

from polyseme.service.results.intervals import (
    FEWEST,
    Difference,
    compare_medians,
    compare_shares,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_shares_are_compared_as_published(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = compare_shares(first, second)

    assert found is not None
    assert found.difference == first[0] / first[1] - second[0] / second[1]
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def halve(rises: Callable[[float], float], low: float, high: float) -> float:
    """Where what is below 0 at `low` and not at `high` passes 0."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return high


def test_the_interval_of_a_share_ends_where_the_share_would_surprise() -> None:
    """Wilson 1927: the true shares from which the one found is 1.96 standard errors off."""
    rng, z = random.Random(1), NormalDist().inv_cdf(0.975)
    for of in (1, 2, 17, 400, 46_080):
        for count in {0, 1, of, rng.randrange(of + 1)}:
            share = count / of

            def off(true: float, share: float = share, of: int = of) -> float:
                return (share - true) ** 2 - z * z * true * (1 - true) / of

            low, high = wilson_interval(count, of)
            below = halve(lambda x: -off(x), 0.0, share) if count else 0.0
            above = halve(off, share, 1.0) if count < of else 1.0
            assert (low, high) == pytest.approx((below, above), abs=1e-9)
            assert low <= share <= high


def test_a_share_of_none_is_not_compared() -> None:
    assert compare_shares((0, 0), (1, 2)) is None
    assert compare_shares((1, 2), (0, 0)) is None


def test_medians_are_compared_as_by_hand() -> None:
    """Of 16 values the places are 4 and 13 (17/2 - 4 = 4.5, rounded to even), and 697 of the 65,536
    throws of 16 coins have fewer than 4 heads.
    """
    values = [float(i * i) for i in range(1, 17)]
    error = (13**2 - 4**2) / (2 * 2.3028)  # the normal quantile of 1 - 697/65536

    found = compare_medians(values, [v + 30 for v in values])

    assert found is not None
    assert found.difference == -30
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(2) * error, rel=1e-3)
    assert found.low + found.high == pytest.approx(-60)


def price_bonett(values: list[float]) -> float:
    """The standard error, the chance of so few heads by an exact sum."""
    n = len(values)
    place = max(int(np.rint((n + 1) / 2 - n**0.5)), 1)
    few, term = 0, 1
    for heads in range(place):
        few, term = few + term, term * (n - heads) // (heads + 1)
    z = NormalDist().inv_cdf(1 - float(Fraction(few, 2**n)))
    return float((np.sort(values)[n - place] - np.sort(values)[place - 1]) / (2 * z))


@pytest.mark.parametrize("sizes", [(10, 11), (64, 1536), (257, 256), (46_080, 24_576)])
def test_the_interval_of_medians_is_that_of_the_formula(sizes: tuple[int, int]) -> None:
    rng = random.Random(7)
    first, second = (sorted(rng.betavariate(8, 2) for _ in range(n)) for n in sizes)
    reach = 1.959964 * math.hypot(price_bonett(first), price_bonett(second))

    found = compare_medians(first, second)

    assert found is not None
    assert found.difference == pytest.approx(median(first) - median(second))
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=1e-6)


def test_intervals_of_medians_are_as_wide_as_those_of_a_bootstrap() -> None:
    """Over many pairs of groups: that of one pair hangs on the few values around its middle."""
    rng, ratios = np.random.default_rng(3), []
    for _ in range(40):
        groups = [np.sort(rng.beta(8, 2, n)) for n in (400, 150)]
        first, second = (np.median(rng.choice(g, (1000, len(g))), axis=1) for g in groups)
        low, high = np.quantile(first - second, [0.025, 0.975])
        found = compare_medians(*(g.tolist() for g in groups))
        assert found is not None
        ratios.append((found.high - found.low) / (high - low))

    assert np.mean(ratios) == pytest.approx(1, abs=0.08), np.mean(ratios)


def median_of_beta(a: int, b: int) -> float:
    """By its distribution function, a sum of binomial chances for whole parameters."""
    n = a + b - 1

    def below(x: float) -> float:
        return sum(math.comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(a, n + 1))

    return halve(lambda x: below(x) - 0.5, 0.0, 1.0)


@pytest.mark.parametrize("sizes", [(15, 30), (64, 300)])
def test_the_intervals_hold_the_truth_as_often_as_they_say(sizes: tuple[int, int]) -> None:
    """Of 600 pairs of groups 95 % give 570 give or take 11."""
    rng, held = np.random.default_rng(5), [0, 0]
    truth = median_of_beta(8, 2) - median_of_beta(4, 2)
    for _ in range(600):
        groups = rng.beta(8, 2, sizes[0]), rng.beta(4, 2, sizes[1])
        of_medians = compare_medians(*(np.sort(g).tolist() for g in groups))
        of_shares = compare_shares(
            (int(rng.binomial(sizes[0], 0.3)), sizes[0]),
            (int(rng.binomial(sizes[1], 0.1)), sizes[1]),
        )
        assert of_medians is not None
        assert of_shares is not None
        held[0] += of_medians.low <= truth <= of_medians.high
        held[1] += of_shares.low <= 0.2 <= of_shares.high

    assert all(0.93 < count / 600 < 0.98 for count in held), held


def test_too_few_values_have_no_interval() -> None:
    few, enough = [0.5] * (FEWEST - 1), [0.5] * FEWEST

    assert compare_medians(few, enough) is None
    assert compare_medians(enough, few) is None
    assert compare_medians(enough, enough) == Difference(0, 0, 0)


@pytest.mark.parametrize(("low", "high", "sure"), [(0.1, 0.2, True), (-2, -1, True), (0, 1, False)])
def test_what_leaves_out_zero_is_sure(low: float, high: float, sure: bool) -> None:
    assert Difference((low + high) / 2, low, high).is_sure is sure
