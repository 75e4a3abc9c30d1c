from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polyseme.workers.analysis.corpus.windows import Windows
from polyseme.workers.analysis.senses.background import (
    POWER,
    RANDOM_TOKENS,
    SHRINKAGE,
    Axes,
    find_random_tokens,
    is_random_token,
    pair_products,
    random_pairs,
)


def make_windows(count: int = 50, length: int = 20) -> Windows:
    tokens = count * length
    rng = np.random.default_rng(0)
    return Windows(
        number=np.arange(count, dtype=np.int32),
        offsets=np.arange(count + 1) * length,
        ids=rng.integers(0, 99, tokens).astype(np.int32),
        documents=np.zeros(tokens, np.int32),
        starts=np.zeros(tokens, np.int32),
        ends=np.zeros(tokens, np.int32),
        counted=rng.random(tokens) < 0.9,
        text=pa.array([""] * count),
    )


def test_about_the_wanted_number_of_tokens_is_drawn() -> None:
    numbers, positions = np.arange(4000)[:, None], np.arange(100)

    drawn = is_random_token(numbers, positions, 400_000)

    assert abs(drawn.sum() - RANDOM_TOKENS) < 4 * np.sqrt(RANDOM_TOKENS)
    assert drawn.any(0).sum() > 90  # every position has its turn


def test_a_small_corpus_gives_every_counted_token() -> None:
    windows = make_windows()

    found, _ = find_random_tokens(windows, 7, 900, 512)

    assert len(found["row"]) == windows.counted.sum()
    assert found["row"].min() == 7


def test_the_tokens_near_a_random_one_stop_at_its_window() -> None:
    windows = make_windows(2, 5)

    found, texts = find_random_tokens(windows, 0, 1, 512)

    for window, position, near in zip(found["window"], found["position"], texts.near, strict=True):
        inside = windows.ids[windows.offsets[window] : windows.offsets[window + 1]]
        assert near[near >= 0].tolist() == inside.tolist()
        assert near[4] == inside[position]


def test_which_tokens_are_drawn_does_not_depend_on_how_windows_are_grouped() -> None:
    whole = make_windows(40, 20)

    together = is_random_token(whole.number[:, None], np.arange(20), 5000)
    apart = np.concatenate(
        [is_random_token(np.array([[n]]), np.arange(20), 5000) for n in whole.number]
    )

    assert np.array_equal(together, apart)


def test_products_of_pairs_do_not_depend_on_how_many_there_are() -> None:
    rows = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    a, b = random_pairs(len(rows))

    found = pair_products(rows, a, b)

    assert len(a) > 40_000  # more than are in memory at once
    assert np.array_equal(found[-5:], pair_products(rows, a[-5:], b[-5:]))
    assert np.allclose(found, (rows[a].astype(np.float64) * rows[b]).sum(1))
    assert len(pair_products(rows, a[:0], b[:0])) == 0


def correlated(count: int, seed: int = 2) -> np.ndarray:
    """Vectors of three dimensions that vary unequally, around another mean than 0."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 3)) @ [[1, 2, 0.1], [0, 5, 1], [3, 0, 1]] + 3).astype(
        np.float32
    )


def test_axes_are_the_principal_ones_with_their_variance_evened_out() -> None:
    vectors = correlated(4000)

    projected = Axes.of(vectors, rank=2).project(vectors).astype(np.float64)

    variance = np.linalg.eigvalsh(np.cov(vectors.astype(np.float64).T, bias=True))[::-1]
    shrunk = (1 - SHRINKAGE) * variance + SHRINKAGE * variance.mean()
    assert projected.shape == (4000, 2)
    assert np.allclose(projected.mean(0), 0, atol=1e-3)
    assert np.allclose(
        np.cov(projected.T, bias=True), np.diag((variance * shrunk ** (-2 * POWER))[:2]), atol=1e-3
    )


@pytest.mark.parametrize(("tokens", "dimensions"), [(4000, 3), (3, 2), (2, 1)])
def test_no_more_axes_are_kept_than_the_tokens_have(tokens: int, dimensions: int) -> None:
    assert Axes.of(correlated(tokens), rank=160).axes.shape == (3, dimensions)


def test_vectors_that_never_change_become_zero() -> None:
    vectors = np.full((10, 3), 7.0, np.float32)

    assert np.array_equal(Axes.of(vectors, rank=3).project(vectors), np.zeros((10, 3), np.float32))
