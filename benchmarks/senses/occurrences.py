"""Where each word of the corpus stands in the model's windows, and what it is there.

Knows tokens, not models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.senses.brown import Document

WINDOW = 128  # tokens
SHORTEST = 32  # tokens of a document's last window, below which it is left out
NONE = -1

Tokenize = Callable[
    [str], tuple[np.ndarray, np.ndarray]
]  # ids (T,) and where they stand in the text, (T, 2)

# The coarse class of a word by what its tag begins with; the first that fits.
_CLASSES = {
    "nn": "noun", "np": "name", "nr": "noun", "vb": "verb", "jj": "adjective", "rb": "adverb",
    "md": "modal",
    "be": "be", "hv": "have", "do": "do", "in": "preposition", "cs": "subordinator",
    "dt": "determiner",
    "pp": "pronoun", "w": "wh", "cd": "number", "ap": "quantifier", "rp": "particle",
    "ql": "qualifier", "to": "to",
    "od": "ordinal", "at": "article", "cc": "conjunction", "ab": "quantifier", "ex": "there",
    "uh": "interjection",
    "pn": "indefinite",
}  # fmt: skip
OTHER = "other"


@dataclass(frozen=True, eq=False)
class Windows:
    """The corpus in windows of one document each. W windows."""

    ids: np.ndarray  # (W, WINDOW) int32, NONE behind the end
    word: np.ndarray  # (W, WINDOW) int32, which of its document's words a token ends in, or NONE
    document: np.ndarray  # (W,) int32
    end: np.ndarray  # (W, WINDOW) int32, where a token ends in its document's text, or NONE

    def take(self, count: int) -> Windows:
        """The first ones."""
        return Windows(**{name: column[:count] for name, column in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Words in windows, in reading order of the windows.

    O of them; a place is an index into them.
    """

    row: np.ndarray  # (O,) the window
    position: np.ndarray  # (O,) its last token there
    document: np.ndarray  # (O,)
    token: np.ndarray  # (O,) int32, the id of that token
    form: np.ndarray  # (O,) number of its form in `forms`
    forms: np.ndarray  # (F,) str
    tag: np.ndarray  # (O,) str
    kind: np.ndarray  # (O,) str, its coarse class
    opens: np.ndarray  # (O,) bool: first word of a sentence
    genre: np.ndarray  # (O,) str, of its document
    is_word: np.ndarray  # (O,) bool: it has a letter
    by_form: dict[str, np.ndarray]  # places, ascending


def cut_windows(
    documents: Sequence[Document], tokenize: Tokenize, shortest: int = SHORTEST, seed: int = 0
) -> Windows:
    """Windows in random order, so that the first ones are a sample of the corpus."""
    parts = [_cut(document, *tokenize(document.text), shortest) for document in documents]
    owner = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part[0]) for part in parts])
    ids, word, end = (np.concatenate([part[i] for part in parts]) for i in range(3))
    order = np.random.default_rng(seed).permutation(len(ids))
    return Windows(ids[order], word[order], owner[order], end[order])


def _cut(
    document: Document, ids: np.ndarray, spans: np.ndarray, shortest: int
) -> tuple[np.ndarray, ...]:
    """Ids, words and ends in rows of WINDOW."""
    word = _words_of(document, spans)
    rows = len(ids) // WINDOW + (len(ids) % WINDOW >= shortest)
    shape = (rows, WINDOW)
    found = np.full((3, *shape), NONE, np.int32)
    for target, values in zip(found, (ids, word, spans[:, 1]), strict=True):
        kept = values[: rows * WINDOW]
        target.reshape(-1)[: len(kept)] = kept
    return tuple(found)


def _words_of(document: Document, spans: np.ndarray) -> np.ndarray:
    """The word that holds each token's last character, or NONE."""
    starts, ends = (
        np.array([getattr(w, name) for w in document.words]) for name in ("start", "end")
    )
    last = spans[:, 1] - 1
    word = np.searchsorted(starts, last, side="right") - 1
    inside = (spans[:, 1] > spans[:, 0]) & (word >= 0) & (last < ends[word.clip(0)])
    return np.where(inside, word, NONE).astype(np.int32)


def find_occurrences(windows: Windows, documents: Sequence[Document]) -> Occurrences:
    """Each word once in each window it has a token in."""
    following = np.pad(windows.word[:, 1:], ((0, 0), (0, 1)), constant_values=NONE - 1)
    row, position = np.nonzero((windows.word != NONE) & (windows.word != following))
    document = windows.document[row]
    words = [
        documents[d].words[w]
        for d, w in zip(document.tolist(), windows.word[row, position].tolist(), strict=True)
    ]
    forms, form = np.unique([w.form for w in words], return_inverse=True)
    order = np.argsort(form, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(form[order])) + 1)
    tags, tag = np.unique([w.tag for w in words], return_inverse=True)
    return Occurrences(
        row=row,
        position=position,
        document=document,
        token=windows.ids[row, position],
        form=form,
        forms=forms,
        tag=tags[tag],
        kind=np.array([classify(t) for t in tags])[tag],
        opens=np.array([w.opens for w in words]),
        genre=np.array([d.genre for d in documents])[document],
        is_word=np.array([any(c.isalpha() for c in f) for f in forms])[form],
        by_form=dict(zip(forms.tolist(), places, strict=True)),
    )


def classify(tag: str) -> str:
    """The coarse class of a Brown tag: that of its first part."""
    first = tag.split("+")[0].rstrip("*$")
    return next((kind for start, kind in _CLASSES.items() if first.startswith(start)), OTHER)
