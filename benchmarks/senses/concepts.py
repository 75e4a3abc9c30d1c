"""The concepts of one split that units are built from: which places of the corpus each has, and
what is near it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.senses.families import (
    SPLITS,
    list_families,
    list_fields,
    list_lemmas,
    list_synonyms,
)
from benchmarks.senses.occurrences import OTHER, Occurrences

Encode = Callable[[Sequence[str]], np.ndarray]  # words to unit vectors

FAMILY_DOCUMENTS, LEMMA_DOCUMENTS, SINGLE_DOCUMENTS = (
    80,
    45,
    60,
)  # a concept in fewer documents is left out
SINGLE_CLASS = 0.98  # share of a single word's occurrences in one coarse class
HOMOGRAPH_DOCUMENTS, HOMOGRAPH_SHARE = 29, 0.15  # of the rarer use
CONTROL_DOCUMENTS, CONTROL_CLASS = 41, 0.97


@dataclass(frozen=True, eq=False)
class Concepts:
    """Places by concept; `field` says which families are siblings."""

    families: dict[str, np.ndarray]
    fields: dict[str, tuple[str, ...]]  # families of each field that are in `families`
    near: dict[str, list[str]]  # other families of each, the nearest first
    lemmas: dict[str, np.ndarray]
    synonyms: dict[str, np.ndarray]
    singles: dict[str, np.ndarray]
    centres: dict[str, np.ndarray]  # unit vectors of families, lemmas and single words
    homographs: dict[str, tuple[np.ndarray, np.ndarray]]  # the two uses of a word, by class
    controls: dict[str, np.ndarray]  # words of one use, one for each homograph


def gather_concepts(found: Occurrences, split: str, encode: Encode) -> Concepts:
    lists = list_families(split)
    families = {
        n: p
        for n, w in lists.items()
        if _documents(found, p := main_class(found, w)) >= FAMILY_DOCUMENTS
    }
    lemmas = {n: _places(found, w) for n, w in list_lemmas(split).items()}
    singles = _single_words(found, split)
    wanted = {n: lists[n] for n in families} | {n: (n,) for n in [*lemmas, *singles]}
    homographs = find_homographs(found, split)
    return Concepts(
        families=families,
        fields={
            f: tuple(n for n in inside if n in families) for f, inside in list_fields(split).items()
        },
        near=_by_nearness({n: _centre(encode, [*w, n]) for n, w in lists.items()}, families),
        lemmas=lemmas,
        synonyms={n: main_class(found, w) for n, w in list_synonyms(split).items()},
        singles=singles,
        centres={
            n: _centre(encode, [w for w in words if w in found.by_form])
            for n, words in wanted.items()
        },
        homographs=homographs,
        controls=_controls(found, split, homographs),
    )


def in_split(word: str, split: str) -> bool:
    """Words that are in no list belong to the split that a hash says; none to the third."""
    return SPLITS[zlib.crc32(word.encode()) % 2] == split


def _places(found: Occurrences, words: Iterable[str]) -> np.ndarray:
    parts = [found.by_form[w] for w in words if w in found.by_form]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def main_class(found: Occurrences, words: Iterable[str]) -> np.ndarray:
    """Each word's places in its most frequent class: what the list means by it."""
    kept = [
        (p := _places(found, [w]))[found.kind[p] == _classes(found, p)[0]]
        for w in words
        if w in found.by_form
    ]
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _classes(found: Occurrences, places: np.ndarray) -> list[str]:
    """The coarse classes by frequency, the most frequent first."""
    names, counts = np.unique(found.kind[places], return_counts=True)
    return [str(n) for n in names[np.argsort(-counts, kind="stable")]]


def _documents(found: Occurrences, places: np.ndarray) -> int:
    return len(np.unique(found.document[places]))


def _centre(encode: Encode, words: Sequence[str]) -> np.ndarray:
    mean = encode(words).mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def _by_nearness(centres: dict[str, np.ndarray], kept: Iterable[str]) -> dict[str, list[str]]:
    names = [n for n in centres if n in kept]
    cosine = np.stack([centres[n] for n in names]) @ np.stack([centres[n] for n in names]).T
    np.fill_diagonal(cosine, -2)
    return {
        n: [names[j] for j in np.argsort(-row)[:-1]] for n, row in zip(names, cosine, strict=True)
    }


def _single_words(found: Occurrences, split: str) -> dict[str, np.ndarray]:
    elsewhere = {
        w
        for other in SPLITS
        if other != split
        for words in list_families(other).values()
        for w in words
    }
    return {
        word: places
        for word, places in found.by_form.items()
        if len(places) >= SINGLE_DOCUMENTS
        and word.isalpha()
        and in_split(word, split)
        and word not in elsewhere
        and _documents(found, places) >= SINGLE_DOCUMENTS
        and (found.kind[places] == _classes(found, places)[0]).mean() > SINGLE_CLASS
    }


def find_homographs(found: Occurrences, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Words with two frequent classes; a noun that is also a name is left out, as it is the same
    word.
    """
    uses = {}
    for word, places in found.by_form.items():
        if len(places) < 2 * HOMOGRAPH_DOCUMENTS or not word.isalpha() or not in_split(word, split):
            continue
        kinds = _classes(found, places)[:2]
        if len(kinds) < 2 or OTHER in kinds or set(kinds) == {"noun", "name"}:
            continue
        first, second = (places[found.kind[places] == kind] for kind in kinds)
        enough = min(_documents(found, first), _documents(found, second)) >= HOMOGRAPH_DOCUMENTS
        if enough and len(second) > HOMOGRAPH_SHARE * len(places):
            uses[word] = first, second
    return dict(sorted(uses.items()))


def _controls(
    found: Occurrences, split: str, homographs: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """For each homograph another word of one use, of the same class as its first and as frequent as
    can be had.
    """
    free = {}
    for word, places in found.by_form.items():
        if len(places) >= CONTROL_DOCUMENTS and word.isalpha() and in_split(word, split):
            kind = _classes(found, places)[0]
            own = places[found.kind[places] == kind]
            if (
                len(own) >= CONTROL_CLASS * len(places)
                and _documents(found, own) >= CONTROL_DOCUMENTS
            ):
                free[word] = kind, own
    chosen = {}
    for first, second in homographs.values():
        kind, total = found.kind[first[0]], len(first) + len(second)
        word = min(free, key=lambda w: (free[w][0] != kind, abs(np.log(len(free[w][1]) / total))))
        chosen[word] = free.pop(word)[1]
    return chosen
