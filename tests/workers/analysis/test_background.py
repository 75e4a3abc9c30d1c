from __future__ import annotations

import numpy as np
import pytest

from workers.analysis.background import (
    POWER,
    RANDOM_TOKENS,
    SHRINKAGE,
    Scale,
    Whitening,
    find_random_tokens,
    is_random_token,
    to_unit,
)
from workers.analysis.windows import Windows


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
    )


def test_about_the_wanted_number_of_tokens_is_drawn() -> None:
    numbers, positions = np.arange(4000)[:, None], np.arange(100)

    drawn = is_random_token(numbers, positions, 400_000)

    assert abs(drawn.sum() - RANDOM_TOKENS) < 4 * np.sqrt(RANDOM_TOKENS)
    assert drawn.any(0).sum() > 90  # every position has its turn


def test_a_small_corpus_gives_every_counted_token() -> None:
    windows = make_windows()

    found = find_random_tokens(windows, 7, 900)

    assert len(found["row"]) == windows.counted.sum()
    assert found["row"].min() == 7


def test_the_tokens_near_a_random_one_stop_at_its_window() -> None:
    windows = make_windows(2, 5)

    found = find_random_tokens(windows, 0, 1)

    middle = found["near"].shape[1] // 2
    for window, position, near in zip(found["window"], found["position"], found["near"], strict=True):
        inside = windows.ids[windows.offsets[window] : windows.offsets[window + 1]]
        assert near[near >= 0].tolist() == inside.tolist()
        assert near[middle] == inside[position]


def test_which_tokens_are_drawn_does_not_depend_on_how_windows_are_grouped() -> None:
    whole = make_windows(40, 20)

    together = is_random_token(whole.number[:, None], np.arange(20), 5000)
    apart = np.concatenate([is_random_token(np.array([[n]]), np.arange(20), 5000) for n in whole.number])

    assert np.array_equal(together, apart)


def test_a_distance_is_read_as_its_quantile_among_random_pairs() -> None:
    random = to_unit(np.random.default_rng(1).normal(size=(800, 16)))
    scale = Scale.of(random)
    distances = (1 - random.astype(np.float64) @ random.T.astype(np.float64))[np.triu_indices(800, 1)]

    for quantile in (0.01, 0.05, 0.5, 0.9):
        at = np.quantile(distances, quantile)
        assert scale.read(np.array([at]))[0] == pytest.approx(quantile, abs=0.01)
        assert scale.distance(quantile) == pytest.approx(at, abs=0.02)


def correlated(count: int, seed: int = 2) -> np.ndarray:
    """Vectors of two parts of three dimensions that vary unequally, around another mean than 0."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(6, 6)) * [1, 5, 0.1, 2, 1, 3]
    return (rng.normal(size=(count, 6)) @ mixing + 3).astype(np.float32)


def test_whitening_evens_out_the_directions_up_to_shrinkage() -> None:
    vectors = correlated(4000)

    whitening = Whitening.of(vectors, parts=2)

    for k in range(2):
        centred = vectors[:, 3 * k : 3 * k + 3].astype(np.float64) - vectors[:, 3 * k : 3 * k + 3].mean(0)
        variance = np.linalg.eigvalsh(np.cov(centred.T, bias=True))
        shrunk = (1 - SHRINKAGE) * variance + SHRINKAGE * variance.mean()
        found = np.linalg.eigvalsh(np.cov((centred @ whitening.maps[k]).T, bias=True))
        assert np.allclose(np.sort(found), np.sort(variance * shrunk ** (-2 * POWER)), rtol=1e-3)


def test_parts_have_equal_say_and_vectors_unit_length() -> None:
    found = Whitening.of(correlated(500), parts=2).apply(correlated(20, seed=5))

    assert np.allclose((found[:, :3] ** 2).sum(1), 0.5, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_vectors_that_never_change_become_zero() -> None:
    vectors = np.full((10, 3), 7.0, np.float32)

    assert np.array_equal(Whitening.of(vectors).apply(vectors), np.zeros((10, 3), np.float32))
