"""How well the chance that two contexts mean the same is told, on pairs of the Brown corpus' words.

Pairs are of two documents: of one concept; of two concepts of one field; of two far from each
other; of a concept and any word; of one word in two uses or in one; and of signs and numbers, which
have no letters. With --fit the coefficients of `polyseme.workers.analysis.senses.pairs` are fitted
to them; otherwise those of the code are measured. Pairs of topics are of any words, in one genre or
in two.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.markdown import table
from benchmarks.senses.concepts import find_homographs, main_class
from benchmarks.senses.families import (
    SPLITS,
    list_families,
    list_fields,
    list_lemmas,
    list_synonyms,
)
from benchmarks.senses.logistic import calibration_error, fit_logistic, logistic
from benchmarks.senses.material import (
    QUICK_WINDOWS,
    ReadCorpus,
    add_corpus_options,
    read_brown,
)
from benchmarks.senses.metrics import auroc
from benchmarks.senses.occurrences import Occurrences
from benchmarks.senses.units import half
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import (
    LETTERS,
    NUMBER,
    TOPICS,
    USES_FLOOR,
    VECTORS,
    WORDS,
    PairKind,
    PairModel,
)

FAR, SIBLING, SAME = 0, 1, 2
CONCEPTS, HOMOGRAPHS, SIGNS, GENRES = "concepts", "homographs", "no letters", "genres"

LEAST = 30  # places of a concept or a sign, below which it is left out
POOL = 300  # places of a concept that pairs are drawn from
PER_FIT, PER_MEASURE, PER_QUICK = 600, 400, 50  # pairs of one family; of lemmas a third
PER_HOMOGRAPH = 12  # across the two uses of a word, and as many within them
SIGN_PAIRS = 4_000  # in all, and as many that differ
GENRE_PAIRS = 6_000
_SIGNS = (",", ".", '"', ";", "?", "--", "(", ")", ":", "!")


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of places among a corpus' words."""

    a: np.ndarray  # (n,)
    b: np.ndarray  # (n,)
    label: np.ndarray  # (n,) FAR, SIBLING or SAME
    source: np.ndarray  # (n,) str: how they were drawn

    def take(self, kept: np.ndarray) -> Pairs:
        return Pairs(self.a[kept], self.b[kept], self.label[kept], self.source[kept])


@dataclass(frozen=True, eq=False)
class Features:
    """What the model of pairs reads of each pair; see `PairModel`."""

    same_word: np.ndarray  # (n,) bool
    lettered: np.ndarray  # (n,) bool: both words have letters
    numbers: np.ndarray  # (n,) bool: both are numbers
    z: np.ndarray
    e: np.ndarray
    f: np.ndarray

    def take(self, kept: np.ndarray) -> Features:
        return Features(**{name: column[kept] for name, column in vars(self).items()})


def add_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    parser.add_argument("--split", choices=SPLITS, default="development", help="of the concepts")
    parser.add_argument("--fit", action="store_true", help="fit the coefficients to these pairs")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus, fewer pairs")


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    corpus = read_brown(options, QUICK_WINDOWS if options.quick else None)
    per = PER_FIT if options.fit else PER_MEASURE
    # Another seed, so that the places that were fitted to are not measured again.
    rng = np.random.default_rng(0 if options.fit else 5)
    pairs = draw_pairs(corpus.found, options.split, PER_QUICK if options.quick else per, rng)
    topics = draw_genres(corpus.found, options.split, rng)
    places = np.unique(np.concatenate([pairs.a, pairs.b, topics.a, topics.b]))
    cache = options.cache and options.cache / f"pairs-{options.split}-{per}.npz"
    read = corpus.run(corpus.found.row[places], corpus.found.position[places], cache)
    told = f"{len(pairs.a):,} pairs, {len(topics.a):,} of topics."
    tell = _fitted if options.fit else _measured
    return f"## Pairs, {options.split} concepts\n\n{told}\n\n{tell(read, pairs, topics)}"


# Drawing


def draw_pairs(found: Occurrences, split: str, per: int, rng: np.random.Generator) -> Pairs:
    parts = [
        *_of_concepts(found, split, per, rng),
        *_of_homographs(found, split, rng),
        *_of_signs(found, rng),
    ]
    return _join(found, parts)


def draw_genres(found: Occurrences, split: str, rng: np.random.Generator) -> Pairs:
    """Any words, of one genre or of two of the split's genres."""
    genres = half(sorted(set(found.genre.tolist())), split)
    pools = [np.flatnonzero(found.is_word & (found.genre == genre)) for genre in genres]
    parts = []
    for i, pool in enumerate(pools):
        others = np.concatenate([p for k, p in enumerate(pools) if k != i])
        count = GENRE_PAIRS // len(pools)
        parts += [
            _draw(rng, pool, other, count, label, GENRES)
            for other, label in ((pool, SAME), (others, FAR))
        ]
    return _join(found, parts)


def _of_concepts(
    found: Occurrences, split: str, per: int, rng: np.random.Generator
) -> Iterator[Pairs]:
    pools, fields = _pools(found, split, rng)
    words = np.flatnonzero(found.is_word)
    for name, pool in pools.items():
        count = per // 3 if fields[name] == name else per
        siblings = [p for n, p in pools.items() if n != name and fields[n] == fields[name]]
        far = [p for n, p in pools.items() if fields[n] != fields[name]]
        near, any_word = count // 4 if siblings else 0, count // 8
        yield _draw(rng, pool, pool, count, SAME, CONCEPTS)
        yield _draw_of_any(rng, pool, siblings, near, SIBLING)
        yield _draw_of_any(rng, pool, far, count - near - any_word, FAR)
        other = _draw(rng, pool, words, any_word, FAR, CONCEPTS)
        yield other.take(found.form[other.a] != found.form[other.b])


def _pools(
    found: Occurrences, split: str, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Places of each concept, and its field: lemmas and synonyms are fields of their own."""
    alone = {f"lemma {n}": w for n, w in list_lemmas(split).items()}
    alone |= {f"synonyms {n}": w for n, w in list_synonyms(split).items()}
    fields = {name: f for f, inside in list_fields(split).items() for name in inside}
    fields |= {name: name for name in alone}
    places = {n: main_class(found, w) for n, w in (list_families(split) | alone).items()}
    pools = {n: _thin(found, own, rng) for n, own in places.items() if len(own) >= LEAST}
    return pools, fields


def _thin(found: Occurrences, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most POOL places, one a document; frequent words are held back by the root of their
    count.
    """
    _, form, counts = np.unique(found.form[pool], return_inverse=True, return_counts=True)
    order = pool[np.argsort(rng.exponential(size=len(pool)) * np.sqrt(counts[form]))]
    _, first = np.unique(found.document[order], return_index=True)
    return np.asarray(order[np.sort(first)[:POOL]])


def _of_homographs(found: Occurrences, split: str, rng: np.random.Generator) -> Iterator[Pairs]:
    for uses in find_homographs(found, split).values():
        yield _draw(rng, *uses, PER_HOMOGRAPH, FAR, HOMOGRAPHS)
        for use in uses:
            yield _draw(rng, use, use, PER_HOMOGRAPH // 2, SAME, HOMOGRAPHS)


def _of_signs(found: Occurrences, rng: np.random.Generator) -> Iterator[Pairs]:
    """One sign or any number twice; two of these; one of them and a word."""
    number = [any(map(str.isdigit, f)) and not any(map(str.isalpha, f)) for f in found.forms]
    pools = [np.flatnonzero(np.array(number)[found.form])]
    pools += [found.by_form[sign] for sign in _SIGNS if sign in found.by_form]
    pools = [pool for pool in pools if len(pool) >= LEAST]
    words = np.flatnonzero(found.is_word)
    for i, pool in enumerate(pools):
        count = SIGN_PAIRS // len(pools)
        yield _draw(rng, pool, pool, count, SAME, SIGNS)
        yield _draw(rng, pool, words, count // 2, FAR, SIGNS)
        yield _draw_of_any(rng, pool, pools[:i] + pools[i + 1 :], count // 2, FAR, SIGNS)


def _draw_of_any(
    rng: np.random.Generator,
    pool: np.ndarray,
    others: Sequence[np.ndarray],
    count: int,
    label: int,
    source: str = CONCEPTS,
) -> Pairs:
    """Each other place from a pool of its own."""
    drawn = rng.integers(0, len(others), count).tolist() if others else []
    b = np.array([rng.choice(others[i]) for i in drawn], np.int64)
    return _pairs(rng.choice(pool, len(b)), b, label, source)


def _draw(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray, count: int, label: int, source: str
) -> Pairs:
    return _pairs(rng.choice(a, count), rng.choice(b, count), label, source)


def _pairs(a: np.ndarray, b: np.ndarray, label: int, source: str) -> Pairs:
    return Pairs(a, b, np.full(len(a), label), np.full(len(a), source, object))


def _join(found: Occurrences, parts: Sequence[Pairs]) -> Pairs:
    """All of two documents."""
    empty = np.zeros(0, np.int64)
    every = [_pairs(empty, empty, FAR, ""), *parts]
    joined = Pairs(*(np.concatenate([getattr(p, n) for p in every]) for n in vars(every[0])))
    return joined.take(found.document[joined.a] != found.document[joined.b])


# Measuring


def measure_features(read: ReadCorpus, pairs: Pairs, kind: PairKind) -> Features:
    found = read.corpus.found
    places, at = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    material = read.compare(found.row[places], found.position[places], kind)
    return features_of(material, *np.split(at, 2))


def features_of(material: Material, a: np.ndarray, b: np.ndarray) -> Features:
    """a, b: (n,) places in the material."""
    scales, words = material.scales, (material.word[a], material.word[b])
    told = (words[0] >= 0) & (words[1] >= 0)
    e = np.zeros(len(a))
    lettered, numbers = (told & _both(material.spelling, words, kind) for kind in (LETTERS, NUMBER))
    if material.encoded.shape[1]:
        e = (_products(material.encoded, *words) - scales[2]) / scales[3]
    gap = np.square(material.uses[a].astype(np.float64) - material.uses[b]).sum(1)
    return Features(
        same_word=told & (words[0] == words[1]),
        lettered=lettered,
        numbers=numbers,
        z=(1 - _products(material.vectors, a, b) - scales[0]) / scales[1],
        e=e,
        f=(np.log(gap + USES_FLOOR) - scales[4]) / scales[5],
    )


def _both(spelling: np.ndarray, words: tuple[np.ndarray, np.ndarray], kind: int) -> np.ndarray:
    if not spelling.size:  # there are no words
        return np.zeros(len(words[0]), bool)
    return np.asarray((spelling[words[0]] == kind) & (spelling[words[1]] == kind))


def _products(vectors: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ud,ud->u", vectors[a], vectors[b], dtype=np.float64))


def pieces(features: Features) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each part of a `PairModel`, the pairs it is for, (n,) bool, and what its coefficients are
    of.
    """
    one, z, e = np.ones(len(features.z)), features.z, features.e
    bent, near = np.maximum(z + 2.5, 0), np.maximum(e - 2, 0)
    same, lettered = features.same_word, features.lettered
    yield "different", lettered & ~same, np.stack([one, z, bent, e, near, z * e], 1)
    yield "same", lettered & same, np.stack([one, z, features.f], 1)
    yield "plain", ~lettered, np.stack([one, z], 1)


def chances(features: Features, model: PairModel) -> np.ndarray:
    """As `fill_chances` gives them for all pairs of a unit."""
    logit = np.zeros(len(features.z))
    for name, own, columns in pieces(features):
        logit[own] = columns[own] @ np.array(getattr(model, name))
    logit += model.numbers * features.numbers
    return logistic(logit)


def fit_model(features: Features, alike: np.ndarray) -> PairModel:
    """alike: (n,) bool."""
    return PairModel(
        **{
            name: tuple(fit_logistic(columns[own], alike[own]).tolist())
            for name, own, columns in pieces(features)
        }
    )


# The tables


def _fitted(read: ReadCorpus, pairs: Pairs, topics: Pairs) -> str:
    rows = []
    for kind, own in ((WORDS, pairs), (VECTORS, pairs), (TOPICS, topics)):
        if not len(own.a):
            continue
        features = measure_features(read, own, kind)
        for name, alike in (("narrow", own.label == SAME), ("broad", own.label >= SIBLING)):
            fitted = fit_model(features, alike)
            parts = fitted.different, fitted.same, fitted.plain
            told = [", ".join(f"{x:.3f}" for x in part) for part in parts]
            rows.append([f"{kind.name}, {name}", *told])
    return table(["", "different words", "one word", "no letters"], rows)


def _measured(read: ReadCorpus, pairs: Pairs, topics: Pairs) -> str:
    rows = []
    for kind, own in ((WORDS, pairs), (VECTORS, pairs), (TOPICS, topics)):
        if not len(own.a):
            continue
        features = measure_features(read, own, kind)
        for source in dict.fromkeys(own.source.tolist()):
            kept = own.source == source
            part = features.take(kept)
            narrow, broad = chances(part, kind.narrow), chances(part, kind.broad)
            rows.append([f"{kind.name}, {source}", *_row(narrow, broad, own.label[kept])])
    header = ["", "pairs", "AUROC", "ECE", "AUROC far", "AUROC siblings"]
    return table([*header, "broad AUROC", "broad ECE"], rows)


def _row(narrow: np.ndarray, broad: np.ndarray, label: np.ndarray) -> list[str]:
    alike, wide = label == SAME, label >= SIBLING
    figures = [
        auroc(narrow[alike], narrow[~alike]),
        calibration_error(narrow, alike),
        auroc(narrow[alike], narrow[label == FAR]),
        auroc(narrow[alike], narrow[label == SIBLING]),
        auroc(broad[wide], broad[~wide]),
        calibration_error(broad, wide),
    ]
    return [f"{len(label):,}", *("-" if np.isnan(x) else f"{x:.3f}" for x in figures)]
