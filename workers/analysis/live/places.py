"""The contexts of a finished analysis and the tokens of a text, side by side in the analysis'
space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from polyseme.contract.files.results import BACKGROUND
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.contexts.peak_places import read_places
from polyseme.workers.analysis.live.text_run import Run, Target
from polyseme.workers.analysis.models.encoder import WordEncoder
from polyseme.workers.analysis.reports.result_files import read_vectors_at
from polyseme.workers.analysis.senses.layer_senses import Background, Peaks, layer_material
from polyseme.workers.analysis.senses.material import Material

_LIVE = 1 << 30  # added to a window's number so that it is none of the corpus'

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """Where an analysis' result lies."""

    store: Store
    folder: str


@dataclass(frozen=True, eq=False)
class Places:
    """Material of all contexts and of all peaks."""

    material: Material
    contexts: Mapping[Target, np.ndarray]  # of each report's contexts, their rows in the material
    peaks: Mapping[int, int]  # row in the material by token


def place_all(
    result: Result,
    options: Senses,
    run: Run,
    contexts: Mapping[Target, Sequence[Row]],
    tokens: np.ndarray,
    encoder: WordEncoder | None,
) -> Places:
    """contexts: of each target's report, those that are shown and the others; tokens: of the text,
    ascending, each once; encoder: None where the analysis had none.

    Not both may be empty.
    """
    rows = [c for of_one in contexts.values() for c in of_one]
    live, position = _in_windows(run, tokens)
    window = np.concatenate([_column(rows, "window"), _LIVE + live])
    keys, place = np.unique(
        window << 32 | np.concatenate([_column(rows, "position"), position]), return_inverse=True
    )
    background = Background.read(result.store, f"{result.folder}/{BACKGROUND}")
    peaks, projected = _read(result, run, keys >> 32, keys & 0xFFFF_FFFF, background)
    ends = np.cumsum([0, *map(len, contexts.values())])
    return Places(
        material=layer_material(options, background, peaks, projected, encoder),
        contexts={t: place[a:b] for t, a, b in zip(contexts, ends[:-1], ends[1:], strict=True)},
        peaks=dict(zip(tokens.tolist(), place[ends[-1] :].tolist(), strict=True)),
    )


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], np.int64)


def _in_windows(run: Run, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Window and position of each token of the text."""
    offsets = run.windows.offsets
    window = np.searchsorted(offsets, tokens, "right") - 1
    return window, tokens - offsets[window]


def _read(
    result: Result, run: Run, window: np.ndarray, position: np.ndarray, background: Background
) -> tuple[Peaks, np.ndarray]:
    """Places of the corpus and of the text, and the projected vectors there, (U, P + Q + T)
    float16. window, position: (U,) ascending.
    """
    kept = read_vectors_at(result.store, result.folder, window, position)
    live = window >= _LIVE
    row = window[live] - _LIVE
    at = run.windows.offsets[row] + position[live]
    kept.vector[live] = background.project_windows(run.residual, run.windows.lengths)[at]
    here = read_places(run.windows, run.windows.number[row], position[live], 0)
    kept.token[live], kept.near[live] = here.token, here.near
    texts = {
        name: pa.concat_arrays(
            [getattr(kept, name).filter(pa.array(~live)).cast(pa.large_string()), found]
        )
        for name, found in (("word", here.word), ("before", here.before), ("after", here.after))
    }
    nowhere = np.zeros(0, np.int64)
    peaks = Peaks(window, position, nowhere, kept.token, near=kept.near, **texts)
    return peaks, kept.vector
