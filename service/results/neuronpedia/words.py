"""The tokens of contexts as Neuronpedia shows them: one after the other, they are the text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def find_plain(tokens: pa.ListArray, texts: pa.Array, spoken: pa.Array) -> list[bool]:
    """Which contexts' tokens read as the document does, so that they can stay as they are.

    texts: of the contexts in their documents; spoken: what each token of the lists reads as, ""
    for a special one.
    """
    starts = pc.subtract(tokens.offsets, tokens.offsets[0])
    joined = pc.binary_join(pa.ListArray.from_arrays(starts, spoken), "")
    found: list[bool] = pc.equal(joined, texts).to_pylist()
    return found


def cut_words(
    text: str, starts: Sequence[int | None], ends: Sequence[int | None], peak: int
) -> list[str | None]:
    """The text in a piece for each token; None for one that stands for none of it.

    A token has what comes before it and no other has. Of a character that several tokens are parts
    of, the peak has it, else the first of them, and the others have "".
    """
    words: list[str | None] = []
    given, kept_for_peak = 0, starts[peak]
    for i, end in enumerate(ends):
        if end is None:
            words.append(None)
            continue
        upto = end if kept_for_peak is None or i >= peak else min(end, kept_for_peak)
        words.append(text[given : max(given, upto)])
        given = max(given, upto)
    return words


def quote_words(words: Sequence[str | None], tokens: Sequence[str]) -> list[str]:
    """As JSON. tokens: the JSON of each token's own text, for those that stand for nothing."""
    return [
        token if word is None else json.dumps(word)
        for word, token in zip(words, tokens, strict=True)
    ]
