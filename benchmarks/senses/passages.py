"""Short documents cut from the corpus: so that one neuron's contexts, one a document, are enough in
a small scan.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.senses.brown import Document, Word
from benchmarks.senses.families import Families

PASSAGE_WORDS = 60  # punctuation included; a passage ends with the sentence that reaches it


def cut_passages(document: Document, words: int = PASSAGE_WORDS) -> Iterator[Document]:
    """The document in runs of whole sentences, each at least `words` long; what is left over at its
    end is dropped.
    """
    first = 0
    for i, word in enumerate(document.words):
        if word.opens and i - first >= words:
            yield _slice(document, first, i)
            first = i


def _slice(document: Document, first: int, end: int) -> Document:
    part = document.words[first:end]
    start, stop = part[0].start, part[-1].end
    moved = tuple(replace(w, start=w.start - start, end=w.end - start) for w in part)
    return replace(
        document, name=f"{document.name}:{first}", text=document.text[start:stop], words=moved
    )


def split_documents(
    documents: Sequence[Document], seed: int
) -> tuple[list[Document], list[Document]]:
    """Two halves with no document in common, the genres spread over both."""
    order = np.random.default_rng(seed).permutation(len(documents))
    return [documents[i] for i in sorted(order[::2])], [documents[i] for i in sorted(order[1::2])]


def draw_passages(
    documents: Sequence[Document],
    words: int,
    seed: int,
    families: Families | None = None,
    wanted: int = 0,
    size: int = PASSAGE_WORDS,
) -> list[Document]:
    """Random passages of about so many words in all and at least `size` words each, no two with the
    same text.

    families, wanted: first come passages that hold a family of which there are fewer than `wanted`
    yet, so that rare ones can be found at all.
    """
    passages = list({p.text: p for d in documents for p in cut_passages(d, size)}.values())
    order = [passages[i] for i in np.random.default_rng(seed).permutation(len(passages))]
    rich = _with_families(order, families or {}, wanted)
    chosen, total = [], 0
    for passage in dict.fromkeys([*rich, *order]):
        if total >= words:
            break
        chosen.append(passage)
        total += len(passage.words)
    return chosen


def _with_families(passages: Sequence[Document], families: Families, wanted: int) -> list[Document]:
    """Passages until each family is in `wanted` of them or no more hold it, the rarest family
    first.
    """
    names = family_names(families)
    here = [{names[w.form] for w in p.words if w.form in names} for p in passages]
    held, found = Counter[str](), dict[int, None]()
    for family, _ in reversed(Counter(name for inside in here for name in inside).most_common()):
        for i, inside in enumerate(here):
            if held[family] >= wanted:
                break
            if family in inside and i not in found:
                found[i] = None
                held.update(inside)
    return [passages[i] for i in found]


def family_names(families: Families) -> dict[str, str]:
    """The family of each word form; the first, where one stands in several."""
    names: dict[str, str] = {}
    for name, forms in families.items():
        for form in forms:
            names.setdefault(form, name)
    return names


def count_families(documents: Sequence[Document], families: Families) -> Counter[str]:
    """Words of each family in the documents."""
    names = family_names(families)
    return Counter(names[w.form] for d in documents for w in d.words if w.form in names)


def word_at(words: Sequence[Word], starts: np.ndarray, char_end: int) -> Word | None:
    """The word that holds the last character of a token;

    None between words. starts: those of the words.
    """
    at = int(np.searchsorted(starts, char_end - 1, "right")) - 1
    return words[at] if at >= 0 and char_end - 1 < words[at].end else None


def write_passages(path: Path, passages: Sequence[Document]) -> None:
    """JSONL, a passage a line: its text, and the form, start and end of each of its words."""
    with path.open("w", encoding="utf-8") as f:
        for p in passages:
            words = [[w.form, w.tag, w.start, w.end, w.opens] for w in p.words]
            f.write(
                json.dumps({"name": p.name, "genre": p.genre, "text": p.text, "words": words})
                + "\n"
            )


def read_passages(path: Path) -> list[Document]:
    """What `write_passages` wrote."""
    lines: list[Mapping[str, list[list[str]]]] = [
        json.loads(line) for line in path.read_text("utf-8").splitlines()
    ]
    return [Document(**line | {"words": tuple(Word(*w) for w in line["words"])}) for line in lines]  # type: ignore
