"""What a shown context's tokens say in their document: its own characters, whatever the tokens
read as.

Knows windows and chosen contexts, not models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.corpus.windows import Windows, shift_into_text


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Of C contexts with T shown tokens in all; places are characters of the context's text."""

    text: list[str]  # (C,) of the peak's document, from its first shown token to its last
    peak_start: np.ndarray  # (C,) int32
    peak_end: np.ndarray
    has_peak: np.ndarray  # (C,) bool: the peak stands for some of the text
    token_starts: np.ndarray  # (T,) int32, by the table's display_offsets
    token_ends: np.ndarray
    has_place: np.ndarray  # (T,) bool: the token stands for some of the text


def cut_surfaces(table: ContextTable, windows: Windows) -> Surfaces:
    """Of contexts that are all shown. windows: among others those of the contexts."""
    order = np.argsort(windows.number)
    row = order[np.searchsorted(windows.number[order], table.window)]
    sizes = np.diff(table.display_offsets)
    owner = np.repeat(np.arange(len(row)), sizes)
    shown = np.arange(len(owner)) - table.display_offsets[owner]
    at = windows.offsets[row[owner]] + table.display_start[owner] + shown
    starts, ends = windows.starts[at], windows.ends[at]
    has_place = (ends > starts) & (windows.documents[at] == table.document[owner])
    low = _by_context(np.minimum, np.where(has_place, starts, np.int64(2**62)), table)
    high = _by_context(np.maximum, np.where(has_place, ends, 0), table)
    low = np.where(high > 0, low, 0)
    token_starts, token_ends = (
        np.where(has_place, x - low[owner], 0).astype(np.int32) for x in (starts, ends)
    )
    peak = table.display_offsets[:-1] + table.position - table.display_start
    return Surfaces(
        text=_slice_texts(windows, row, *_in_window(windows, at, has_place, owner, low, high)),
        peak_start=token_starts[peak],
        peak_end=token_ends[peak],
        has_peak=has_place[peak],
        token_starts=token_starts,
        token_ends=token_ends,
        has_place=has_place,
    )


def _by_context(ufunc: np.ufunc, values: np.ndarray, table: ContextTable) -> np.ndarray:
    """A reduction of each context's values; every context shows its peak at least."""
    if not len(values):
        return values
    reduced: np.ndarray = ufunc.reduceat(values, table.display_offsets[:-1])
    return reduced


def _in_window(
    windows: Windows,
    at: np.ndarray,
    has_place: np.ndarray,
    owner: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where each context's text begins and ends in its window's, (C,) each."""
    shift = np.zeros(len(low), np.int64)
    shift[owner[has_place]] = shift_into_text(windows)[at[has_place]]
    return low + shift, high + shift


def _slice_texts(
    windows: Windows, row: np.ndarray, first: np.ndarray, end: np.ndarray
) -> list[str]:
    used, place = np.unique(row, return_inverse=True)
    texts = windows.text.take(used).to_pylist()
    slices = zip(place.tolist(), first.tolist(), end.tolist(), strict=True)
    return [texts[window][a:b] for window, a, b in slices]
