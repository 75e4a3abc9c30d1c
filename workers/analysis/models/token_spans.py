"""Where the tokens of a text stand in it, so that they leave nothing out but white space.

Characters are Unicode code points. Knows texts and spans, not tokens. What tokenizers tell has
holes: a normaliser may drop a mark or a control character, and no token is said to hold it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import regex

# What makes several code points one character, so that a text without any need not be walked
# through.
_JOINING: Final = regex.compile(
    "[" + "".join(rf"\p{{GCB={kind}}}" for kind in ("Extend", "SpacingMark", "ZWJ", "Prepend"))
    + "".join(rf"\p{{GCB={kind}}}" for kind in ("L", "V", "T", "Regional_Indicator")) + "]"
)  # fmt: skip
# Those of UAX #29, but for the ends of lines: "\r\n" are two.
_CHARACTER: Final = regex.compile(r"[\r\n]|\X")


def mend_spans(text: str, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spans (T,) of a text's tokens in whole characters, and without a hole but white space.

    A mark stays with its letter, and what is joined to one sign stays whole. What else no token
    holds goes to the one before it, or at the beginning of the text to the first. Empty spans, of
    tokens that stand for nothing, stay empty.
    """
    starts, ends = _widen(text, starts, ends)
    filled = ends > starts
    if filled.any():
        starts[filled], ends[filled] = _fill_holes(text, starts[filled], ends[filled])
    return starts, ends


def empty_dummies(
    text: str, is_dummy: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """The ends (T,) with the spans of spaces that the tokenizer put before a word made empty.

    is_dummy: (T,) bool, tokens that are one space, which may be the text's own. One that was put
    there is said to stand where the token behind it does.
    """
    ends = ends.copy()
    for i in np.flatnonzero(is_dummy[:-1] & (starts[:-1] == starts[1:])).tolist():
        if not text[starts[i] : ends[i]].isspace():
            ends[i] = starts[i]
    return ends


def _widen(text: str, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans that begin or end within a character made to hold all of it."""
    if text.isascii() or not _JOINING.search(text):
        return starts.copy(), ends.copy()
    edges = np.array([0, *(m.end() for m in _CHARACTER.finditer(text))], np.int32)
    first = edges[np.searchsorted(edges, starts, "right") - 1]
    return first, np.where(ends > starts, edges[np.searchsorted(edges, ends)], first)


def _fill_holes(text: str, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """starts, ends: of tokens that stand for something."""
    reached = np.maximum.accumulate(ends)
    upto = np.append(starts, len(text))
    after = np.insert(reached, 0, 0)
    for i in np.flatnonzero(upto > after).tolist():
        low, high = int(after[i]), int(upto[i])
        hole = text[low:high]
        if hole.isspace():
            continue
        if i:
            ends[ends == low] = low + len(hole.rstrip())
        else:
            starts[starts == high] = low + len(hole) - len(hole.lstrip())
    return starts, ends
