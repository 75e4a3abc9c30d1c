"""The model's vectors at places in the corpus' windows, kept in a file so that they are computed
once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.senses.occurrences import WINDOW, Windows
from polyseme.workers.analysis.models.capture import Taps, level, reference_layers, run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites import mlp

_ROWS = 8  # windows of a batch
_KEPT_ROWS = 256  # windows whose vectors are written together


@dataclass(frozen=True, eq=False)
class Vectors:
    """Residual streams of the reference layers at root mean square 1, side by side.

    K layers of D numbers.
    """

    keys: np.ndarray  # (U,) int64 ascending, row * WINDOW + position
    at: np.ndarray  # (U, K * D) float16
    # (W, K * D) float16, the mean over each window's tokens but its first; NaN where none was run
    windows: np.ndarray

    def find(self, row: np.ndarray, position: np.ndarray) -> np.ndarray:
        """(n, K * D) float16. Raises KeyError for a place that was not asked for."""
        keys = row * WINDOW + position
        place = np.searchsorted(self.keys, keys).clip(0, len(self.keys) - 1)
        if not np.array_equal(self.keys[place], keys):
            raise KeyError("a place whose vector was not kept")
        found: np.ndarray = self.at[place]
        return found

    def write(self, path: Path) -> None:
        _save(path, **vars(self))

    @classmethod
    def read(cls, path: Path) -> Vectors:
        with np.load(path) as file:
            return cls(**{name: file[name] for name in ("keys", "at", "windows")})


def extract(model: LoadedModel, windows: Windows, keys: np.ndarray, cache: Path | None) -> Vectors:
    """The vectors at keys, from the cache when it has all of them.

    A run that is cut off goes on where it was.
    """
    keys = np.unique(keys)
    if cache and cache.exists() and np.isin(keys, (found := Vectors.read(cache)).keys).all():
        return found
    rows = np.unique(keys // WINDOW)
    parts = [_extract_part(model, windows, keys, part, cache) for part in _cut(rows, _KEPT_ROWS)]
    at, means = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    made = Vectors(keys, at, np.full((len(windows.ids), at.shape[1]), np.nan, np.float16))
    made.windows[rows] = means
    if cache:
        made.write(cache)
        for file in cache.parent.glob(f"{cache.stem}.part-*.npz"):
            file.unlink()
    return made


Part = tuple[np.ndarray, np.ndarray]  # at keys, (u, K * D), and means over windows, (w, K * D)


def _extract_part(
    model: LoadedModel, windows: Windows, keys: np.ndarray, rows: np.ndarray, cache: Path | None
) -> Part:
    """Of the keys in some windows that follow each other. rows: ascending."""
    own = keys[slice(*np.searchsorted(keys, [rows[0] * WINDOW, (rows[-1] + 1) * WINDOW]))]
    if cache is None:
        return _run_windows(model, windows, own, rows)
    asked = model.weights_sha256.encode() + windows.ids[rows].tobytes() + own.tobytes()
    file = cache.with_name(f"{cache.stem}.part-{hashlib.sha256(asked).hexdigest()[:16]}.npz")
    if file.exists():
        with np.load(file) as found:
            return found["at"], found["means"]
    at, means = _run_windows(model, windows, own, rows)
    _save(file, at=at, means=means)
    return at, means


def _save(path: Path, **arrays: np.ndarray) -> None:
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def _run_windows(model: LoadedModel, windows: Windows, keys: np.ndarray, rows: np.ndarray) -> Part:
    """Runs windows no further than the last reference layer. keys: of these rows, ascending."""
    width = len(reference_layers(model.card.layers)) * model.card.hidden_size
    at = np.zeros((len(keys), width), np.float16)
    means = np.zeros((len(rows), width), np.float16)
    for part in _cut(np.arange(len(rows)), _ROWS):
        hidden = _run(model, windows.ids[rows[part]])  # (B, S, K * D)
        for place, own in zip(part.tolist(), hidden, strict=True):
            row = rows[place]
            low, high = np.searchsorted(keys, [row * WINDOW, (row + 1) * WINDOW])
            at[low:high] = own[keys[low:high] - row * WINDOW]
            means[place] = own[1 : int((windows.ids[row] >= 0).sum())].mean(0)
    return at, means


def _cut(values: np.ndarray, size: int) -> list[np.ndarray]:
    return np.array_split(values, -(-len(values) // size))


def _run(model: LoadedModel, ids: np.ndarray) -> np.ndarray:
    """ids: (B, S), negative behind the end, where no token of a decoder looks."""
    held: list[Tensor] = []
    block = torch.from_numpy(ids.clip(0).astype(np.int64)).to(model.device)
    taps = Taps(residual=lambda layer, hidden: held.append(level(hidden)))
    points = mlp.SITE.points(model.parts, [0])
    run_block(
        model, block, None, points, lambda layer, activations: None, taps
    )  # the first costs the least
    return torch.cat(held, dim=-1).cpu().numpy()


def near_tokens(ids: np.ndarray, row: np.ndarray, position: np.ndarray, reach: int) -> np.ndarray:
    """(n, 2 * reach + 1) int32, the tokens around each place, itself in the middle; -1 outside of
    the window.
    """
    padded = np.pad(ids, ((0, 0), (reach, reach)), constant_values=-1)
    found: np.ndarray = padded[row[:, None], position[:, None] + np.arange(2 * reach + 1)]
    return found
