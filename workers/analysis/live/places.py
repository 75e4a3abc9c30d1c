"""The contexts of a finished analysis and the tokens of a text, side by side in the analysis'
space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyseme.contract.files.results import BACKGROUND
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.live.text_run import Run, Target
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.reports.result_files import read_vectors_at
from polyseme.workers.analysis.senses.background import NEAR
from polyseme.workers.analysis.senses.layer_senses import Background, Peaks, Sources, layer_space
from polyseme.workers.analysis.senses.spaces import Space

_LIVE = 1 << 30  # added to a window's number so that it is none of the corpus'

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """Where an analysis' result lies, and what else its vectors may need."""

    store: Store
    folder: str
    vocabulary: Sequence[str]
    encoder: LazyEncoder


@dataclass(frozen=True, eq=False)
class Places:
    """A space that holds the vectors of all contexts and of all peaks."""

    space: Space
    contexts: Mapping[Target, np.ndarray]  # of each report's contexts, their rows in the space
    peaks: Mapping[int, int]  # row in the space by token


def place_all(
    result: Result,
    options: Senses,
    run: Run,
    contexts: Mapping[Target, Sequence[Row]],
    tokens: np.ndarray,
) -> Places:
    """contexts: of each target's report; tokens: of the text, ascending, each once.

    Not both may be empty.
    """
    rows = [c for of_one in contexts.values() for c in of_one] + [
        _context_at(run, t) for t in tokens.tolist()
    ]
    table = make_table(rows)
    unique = Peaks.of(table)
    background = Background.read(result.store, f"{result.folder}/{BACKGROUND}")
    projected = _project(result, run, unique, background)
    sources = Sources(projected, lambda: result.vocabulary, result.encoder.get)
    space = layer_space(options, background, table, unique, sources)
    ends = np.cumsum([0, *map(len, contexts.values())])
    return Places(
        space=space,
        contexts={
            t: unique.place[a:b] for t, a, b in zip(contexts, ends[:-1], ends[1:], strict=True)
        },
        peaks=dict(zip(tokens.tolist(), unique.place[ends[-1] :].tolist(), strict=True)),
    )


def _context_at(run: Run, token: int) -> dict[str, Any]:
    """A token of the text as if it were the peak of a context, as far as spaces look at one."""
    offsets = run.windows.offsets
    window = int(np.searchsorted(offsets, token, "right")) - 1
    first, end = max(token - NEAR, offsets[window]), min(token + NEAR + 1, offsets[window + 1])
    return {
        "window": _LIVE + window,
        "position": token - offsets[window],
        "display_start": first - offsets[window],
        "tokens": run.windows.ids[first:end].tolist(),
    }


def make_table(rows: Sequence[Row]) -> ContextTable:
    """Contexts by place and tokens alone; what is not known of some is zero."""
    lengths = [len(row["tokens"]) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    column = {
        n: np.array([row[n] for row in rows], np.int64)
        for n in ("window", "position", "display_start")
    }
    tokens = np.fromiter((t for row in rows for t in row["tokens"]), np.int32, offsets[-1])
    unknown = np.zeros(len(rows), np.int64)
    blank = dict.fromkeys(
        ("neuron", "band", "document", "char_start", "char_end", "activation"), unknown
    )
    return ContextTable(
        **blank,
        **column,
        tail=np.full(len(rows), "positive"),
        sample=np.full(len(rows), "top"),
        peak_token=tokens[offsets[:-1] + column["position"] - column["display_start"]],
        display_offsets=offsets,
        tokens=tokens,
        activations=np.zeros(len(tokens), np.float32),
    )


def _project(result: Result, run: Run, unique: Peaks, background: Background) -> np.ndarray:
    """The projected vectors at places of the corpus and of the text, (U, P + Q + T) float16."""
    vectors = read_vectors_at(result.store, result.folder, unique.window, unique.position)
    live = unique.window >= _LIVE
    at = run.windows.offsets[unique.window[live] - _LIVE] + unique.position[live]
    vectors[live] = background.project_windows(run.residual, run.windows.lengths)[at]
    return vectors
