"""Places at which contexts peak, each once: what stands there, and around it.

Knows windows, not models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyseme.workers.analysis.corpus.surface_words import sides_of, word_span
from polyseme.workers.analysis.corpus.windows import Windows, documents_in_text

NEAR = 4  # tokens on each side of a place

_PLACES = 16_384  # whose windows' texts are in memory as strings at once


@dataclass(frozen=True, eq=False)
class PlaceTexts:
    """Of U places."""

    token: np.ndarray  # (U,) int32
    text: pa.Array  # (U,) what the token stands for; "" for none of the text
    word: pa.Array  # (U,) as `surface_words.word_at` gives it
    before: pa.Array  # (U,) what stands before the word, as `surface_words.sides_of` gives it
    after: pa.Array  # (U,) and behind it
    near: np.ndarray  # (U, 2 * NEAR + 1) int32, the token in the middle; -1 outside of its window


def read_places(
    windows: Windows, window: np.ndarray, position: np.ndarray, full: int
) -> PlaceTexts:
    """window, position: (U,), in any order; the windows are among the given ones. full: tokens of a
    window behind which its document may go on.
    """
    order = np.argsort(windows.number, kind="stable")
    row = order[np.searchsorted(windows.number[order], window)]
    at = windows.offsets[row] + position
    columns = zip(*_texts_at(windows, row, at, full), strict=True)
    text, word, before, after = (
        pa.array(column, pa.large_string()) for column in list(columns) or [()] * 4
    )
    return PlaceTexts(
        token=windows.ids[at],
        text=text,
        word=word,
        before=before,
        after=after,
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


def _texts_at(
    windows: Windows, row: np.ndarray, at: np.ndarray, full: int
) -> Iterator[tuple[str, str, str, str]]:
    """The text of each place, its word, and what stands before and behind that."""
    shift, low, high = (of_token[at] for of_token in documents_in_text(windows))
    first, end = windows.starts[at] + shift - low, windows.ends[at] + shift - low
    # A document's first character is 0; the text of a window begins with the first of its tokens.
    begins = low - shift == 0
    sizes = np.array(pc.utf8_length(windows.text))
    ends = (windows.lengths[row] < full) | (high < sizes[row])
    for begin in range(0, len(at), _PLACES):
        part = slice(begin, begin + _PLACES)
        own, within = np.unique(row[part], return_inverse=True)
        texts = windows.text.take(pa.array(own)).to_pylist()
        columns = (within, *(c[part] for c in (low, high, first, end, begins, ends)))
        for window, a, b, start, stop, is_begun, is_ended in zip(
            *(c.tolist() for c in columns), strict=True
        ):
            text = texts[window][a:b]  # its document's
            if start >= stop:  # a token that stands for nothing has no place in the text either
                yield "", "", "", ""
                continue
            span = word_span(text, start, stop)
            yield (
                text[start:stop],
                text[slice(*span)],
                *sides_of(text, span, begins=is_begun, ends=is_ended),
            )
