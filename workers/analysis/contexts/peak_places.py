"""Places at which contexts peak, each once: what stands there, and around it.

Knows windows, not models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from polyseme.workers.analysis.corpus.surface_words import word_at
from polyseme.workers.analysis.corpus.windows import Windows, documents_in_text

NEAR = 4  # tokens on each side of a place

_PLACES = 16_384  # whose windows' texts are in memory as strings at once


@dataclass(frozen=True, eq=False)
class PlaceTexts:
    """Of U places."""

    token: np.ndarray  # (U,) int32
    text: pa.Array  # (U,) what the token stands for; "" for none of the text
    word: pa.Array  # (U,) as `surface_words.word_at` gives it
    near: np.ndarray  # (U, 2 * NEAR + 1) int32, the token in the middle; -1 outside of its window


def read_places(windows: Windows, window: np.ndarray, position: np.ndarray) -> PlaceTexts:
    """window, position: (U,), in any order; the windows are among the given ones."""
    order = np.argsort(windows.number, kind="stable")
    row = order[np.searchsorted(windows.number[order], window)]
    at = windows.offsets[row] + position
    spans = [list(part) for part in zip(*_texts_at(windows, row, at), strict=True)] or [[], []]
    return PlaceTexts(
        token=windows.ids[at],
        text=pa.array(spans[0], pa.large_string()),
        word=pa.array(spans[1], pa.large_string()),
        near=near_tokens(windows, row, position, NEAR),
    )


def near_tokens(windows: Windows, row: np.ndarray, position: np.ndarray, reach: int) -> np.ndarray:
    """(U, 2 * reach + 1) int32, the tokens around each place; -1 outside of its window. row: (U,)
    of each among the windows.
    """
    places = position[:, None] + np.arange(-reach, reach + 1)
    inside = (places >= 0) & (places < windows.lengths[row][:, None])
    at = (windows.offsets[row][:, None] + places).clip(0, max(len(windows.ids) - 1, 0))
    return np.where(inside, windows.ids[at], -1).astype(np.int32)


def _texts_at(windows: Windows, row: np.ndarray, at: np.ndarray) -> Iterator[tuple[str, str]]:
    """The text and the word of each place."""
    shift, low, high = (of_token[at] for of_token in documents_in_text(windows))
    first, end = windows.starts[at] + shift - low, windows.ends[at] + shift - low
    for begin in range(0, len(at), _PLACES):
        part = slice(begin, begin + _PLACES)
        own, within = np.unique(row[part], return_inverse=True)
        texts = windows.text.take(pa.array(own)).to_pylist()
        columns = (within, low[part], high[part], first[part], end[part])
        for window, a, b, start, stop in zip(*(c.tolist() for c in columns), strict=True):
            text = texts[window][a:b]  # its document's
            # A token that stands for nothing has no place in the text either.
            yield (text[start:stop], word_at(text, start, stop)) if start < stop else ("", "")
