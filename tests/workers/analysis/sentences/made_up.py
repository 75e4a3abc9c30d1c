"""Places written as texts: the word between brackets, with what stands on each side."""

from __future__ import annotations

import random

from polyseme.workers.analysis.corpus.surface_words import sides_of, word_span
from polyseme.workers.analysis.sentences.spots import Spot, make_spots
from polyseme.workers.analysis.sentences.usual import Usual

_USUAL = (
    "It was the best of times, it was the worst of times; and we went to the river. There is a "
    "house in the valley, but nobody lives in it now. She said that the old man had left for the "
    "city, where his sons worked. In 1850 the road to the mill was closed and the bridge fell. "
    "Nothing of that was written down, so we do not know why they came back with so little."
)


def spot(marked: str) -> Spot:
    start, end = marked.index("["), marked.index("]") - 1
    text = marked.replace("[", "", 1).replace("]", "", 1)
    span = word_span(text, start, end)
    [found] = make_spots([text[slice(*span)]], *([side] for side in sides_of(text, span)))
    return found


def spots(*marked: str) -> list[Spot]:
    return list(map(spot, marked))


def usual() -> Usual:
    """Random places of plain prose."""
    starts = [i for i, c in enumerate(_USUAL) if c.isalpha()]
    chosen = random.Random(0).choices(starts, k=400)
    spans = [word_span(_USUAL, i, i + 1) for i in chosen]
    words = [_USUAL[slice(*span)] for span in spans]
    sides = [sides_of(_USUAL, span) for span in spans]
    return Usual(make_spots(words, *zip(*sides, strict=True)))
