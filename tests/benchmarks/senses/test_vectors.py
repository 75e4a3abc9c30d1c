from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks.senses import vectors
from benchmarks.senses.occurrences import NONE, WINDOW, Windows
from benchmarks.senses.vectors import Vectors, extract
from polyseme.workers.analysis.models.load import LoadedModel
from tests.tiny_models import load_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def windows() -> Windows:
    ids = np.random.default_rng(0).integers(5, 40, (9, WINDOW)).astype(np.int32)
    ids[4, 50:] = NONE
    none = np.full_like(ids, NONE)
    return Windows(ids, none, np.arange(9, dtype=np.int32), none)


@pytest.fixture
def keys() -> np.ndarray:
    """Places in all windows but the seventh."""
    rng = np.random.default_rng(1)
    return np.concatenate([row * WINDOW + rng.integers(1, 50, 6) for row in range(9) if row != 6])


def assert_same(found: Vectors, wanted: Vectors) -> None:
    for name, values in vars(wanted).items():
        np.testing.assert_allclose(
            getattr(found, name), values, atol=2e-3
        )  # other batches, other last bits


def test_each_place_has_its_vector_and_each_window_that_ran_its_mean(
    model: LoadedModel, windows: Windows, keys: np.ndarray
) -> None:
    found = extract(model, windows, keys, None)

    here = vectors._run(model, windows.ids[4:5])[0]
    positions = np.unique(keys[keys // WINDOW == 4] % WINDOW)
    at = found.find(np.full(len(positions), 4), positions)
    np.testing.assert_allclose(at, here[positions], atol=2e-3)
    np.testing.assert_allclose(found.windows[4], here[1:50].mean(0), atol=2e-3)
    assert np.isnan(found.windows[6]).all()
    assert not np.isnan(np.delete(found.windows, 6, 0)).any()
    with pytest.raises(KeyError):
        found.find(np.array([6]), np.array([3]))


def test_a_run_that_is_cut_off_goes_on_where_it_was(
    model: LoadedModel, windows: Windows, keys: np.ndarray, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache/vectors.npz", vectors._run
    wanted = extract(model, windows, keys, None)
    with patch.multiple(vectors, _KEPT_ROWS=3, _ROWS=2):  # eight windows in parts of 3, 3 and 2
        first = [run(model, windows.ids[:2]), run(model, windows.ids[2:3]), KeyboardInterrupt]
        with patch.object(vectors, "_run", side_effect=first), pytest.raises(KeyboardInterrupt):
            extract(model, windows, keys, cache)
        with patch.object(vectors, "_run", side_effect=run) as again:
            extract(model, windows, keys, cache)

    assert [len(call.args[1]) for call in again.call_args_list] == [2, 1, 2]
    assert [p.name for p in cache.parent.iterdir()] == ["vectors.npz"]
    assert_same(Vectors.read(cache), wanted)
