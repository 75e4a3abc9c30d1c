"""The model's vectors at places in the corpus' windows, kept in a file so that they are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.senses.occurrences import WINDOW, Windows
from workers.analysis.capture import Taps, level, reference_layers, run_block
from workers.analysis.model import LoadedModel

_ROWS = 8  # windows of a batch


@dataclass(frozen=True, eq=False)
class Vectors:
    """Residual streams of the reference layers at root mean square 1, side by side. K layers of D numbers."""

    keys: np.ndarray  # (U,) int64 ascending, row * WINDOW + position
    at: np.ndarray  # (U, K * D) float16
    windows: np.ndarray  # (W, K * D) float16, the mean over each window's tokens but its first; NaN where none was run

    def find(self, row: np.ndarray, position: np.ndarray) -> np.ndarray:
        """(n, K * D) float16. Raises KeyError for a place that was not asked for."""
        keys = row * WINDOW + position
        place = np.searchsorted(self.keys, keys).clip(0, len(self.keys) - 1)
        if not np.array_equal(self.keys[place], keys):
            raise KeyError("a place whose vector was not kept")
        found: np.ndarray = self.at[place]
        return found

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **vars(self))
        unfinished.rename(path)

    @classmethod
    def read(cls, path: Path) -> Vectors:
        with np.load(path) as file:
            return cls(**{name: file[name] for name in ("keys", "at", "windows")})


def extract(model: LoadedModel, windows: Windows, keys: np.ndarray, cache: Path | None) -> Vectors:
    """The vectors at keys, from the cache when it has all of them."""
    keys = np.unique(keys)
    if cache and cache.exists() and np.isin(keys, (found := Vectors.read(cache)).keys).all():
        return found
    made = run_windows(model, windows, keys)
    if cache:
        made.write(cache)
    return made


def run_windows(model: LoadedModel, windows: Windows, keys: np.ndarray) -> Vectors:
    """Runs each window that has a key, no further than the last reference layer. keys: ascending."""
    width = len(reference_layers(model.card.layers)) * model.card.hidden_size
    at = np.zeros((len(keys), width), np.float16)
    means = np.full((len(windows.ids), width), np.nan, np.float16)
    rows = np.unique(keys // WINDOW)
    for part in np.array_split(rows, -(-len(rows) // _ROWS)):
        hidden = _run(model, windows.ids[part])  # (B, S, K * D)
        for row, own in zip(part.tolist(), hidden, strict=True):
            low, high = np.searchsorted(keys, [row * WINDOW, (row + 1) * WINDOW])
            at[low:high] = own[keys[low:high] - row * WINDOW]
            means[row] = own[1 : int((windows.ids[row] >= 0).sum())].mean(0)
    return Vectors(keys, at, means)


def _run(model: LoadedModel, ids: np.ndarray) -> np.ndarray:
    """ids: (B, S), negative behind the end, where no token of a decoder looks."""
    held: list[Tensor] = []
    block = torch.from_numpy(ids.clip(0).astype(np.int64)).to(model.device)
    taps = Taps(residual=lambda layer, hidden: held.append(level(hidden)))
    run_block(model, block, None, [0], lambda layer, activations: None, taps)  # the first costs the least
    return torch.cat(held, dim=-1).cpu().numpy()


def near_tokens(ids: np.ndarray, row: np.ndarray, position: np.ndarray, reach: int) -> np.ndarray:
    """(n, 2 * reach + 1) int32, the tokens around each place, itself in the middle; -1 outside of the window."""
    padded = np.pad(ids, ((0, 0), (reach, reach)), constant_values=-1)
    found: np.ndarray = padded[row[:, None], position[:, None] + np.arange(2 * reach + 1)]
    return found
