"""Units: made-up neurons whose senses are known, because their contexts are drawn from known
concepts.

A unit has one context a document, as near-copies are dropped from a neuron's lists too, and
log-normal activations whose level differs from concept to concept. Tiers are named as in the
report.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.senses.concepts import Concepts
from benchmarks.senses.occurrences import Occurrences

CONTEXTS = (40, 120)  # of a unit: few, and as many as a job keeps by default
LARGEST = 6  # concepts of a unit
UNRELATED = 0.35  # greatest cosine between the concepts' word vectors in a mixture across fields
SEEDS = (0, 1, 2)
NO_CONCEPT = -1
# draws of concepts, most of which are too near each other where words of all kinds are mixed
_TRIALS = 3_000


@dataclass(frozen=True, eq=False)
class Unit:
    tier: str
    kind: str
    seed: int
    name: str
    places: np.ndarray  # (n,) into the occurrences
    truth: np.ndarray  # (n,) concept of each context, or NO_CONCEPT
    mass: np.ndarray  # (n,) activations, > 0
    value: float = np.nan  # the polysemanticity that endlessly many contexts would give

    @property
    def senses(self) -> int:
        return len(set(self.truth[self.truth >= 0].tolist()))


@dataclass(frozen=True, eq=False)
class Plan:
    """Contexts of a unit, and how many units there are of the tiers that are drawn at random."""

    contexts: int = CONTEXTS[-1]
    mixtures: int = 12  # T1, for each number of concepts
    across: int = 8  # T1 with single words and lemmas in it
    words: int = 25  # T3
    topics: int = 8  # T5 and T6, for each number
    random: int = 40  # T9
    rare: int = 20


QUICK = Plan(mixtures=3, across=2, words=6, topics=3, random=10, rare=5)


def generator(*key: object) -> np.random.Generator:
    """Always the same for the same key."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def build_units(
    found: Occurrences, concepts: Concepts, split: str, seeds: Sequence[int], plan: Plan
) -> list[Unit]:
    draw = _Draw(found, concepts, split, plan)
    tiers = (
        draw.far,
        draw.across,
        draw.drawn,
        draw.near,
        draw.single,
        draw.uses,
        draw.topics,
        draw.syntax,
        draw.nulls,
    )
    return [unit for seed in seeds for tier in tiers for unit in tier(seed) if unit]


def draw_sizes(
    rng: np.random.Generator, concepts: int, contexts: int, least: int = 5
) -> np.ndarray:
    """Skewed sizes that sum to `contexts`, none below `least`."""
    sizes = np.maximum(np.round(draw_shares(rng, concepts) * contexts).astype(int), least)
    while sizes.sum() != contexts:
        sizes[sizes.argmax()] += np.sign(contexts - sizes.sum())
    return np.asarray(sizes)


def draw_shares(rng: np.random.Generator, concepts: int) -> np.ndarray:
    """Falling as a power of the rank between 0 and 1.2, summing to 1."""
    shares = 1 / np.arange(1, concepts + 1) ** rng.uniform(0, 1.2)
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True, eq=False)
class _Draw:
    found: Occurrences
    concepts: Concepts
    split: str
    plan: Plan

    def far(self, seed: int) -> Iterator[Unit | None]:
        """T1: families of different fields."""
        for m in range(1, LARGEST + 1):
            yield from self._enough(self.plan.mixtures, "far", seed, m, f"m{m}")

    def across(self, seed: int) -> Iterator[Unit | None]:
        """T1: families, lemmas and single words together."""
        for m in range(2, LARGEST + 1):
            yield from self._enough(self.plan.across, "across", seed, m, f"x{m}")

    def drawn(self, seed: int) -> Iterator[Unit | None]:
        """As T1, but each context is drawn on its own, so that sizes vary as in a sample: for the
        interval alone.
        """
        for m in range(1, LARGEST + 1):
            yield from self._enough(self.plan.mixtures, "drawn", seed, m, f"m{m}")

    def _enough(self, wanted: int, way: str, seed: int, m: int, kind: str) -> Iterator[Unit]:
        made = 0
        for trial in range(_TRIALS):
            rng = generator("T1", way, self.split, seed, m, trial)
            chosen = self._mix_words(rng, m) if way == "across" else self._mix_families(rng, m)
            if chosen is None or (unit := self._mixture(rng, way, kind, seed, chosen)) is None:
                continue
            yield unit
            made += 1
            if made == wanted:
                return

    def _mixture(
        self, rng: np.random.Generator, way: str, kind: str, seed: int, chosen: list[str]
    ) -> Unit | None:
        if way != "drawn":
            return self._unit(
                rng, "T1", kind, seed, chosen, draw_sizes(rng, len(chosen), self.plan.contexts)
            )
        shares = draw_shares(rng, len(chosen))
        return self._unit(
            rng, "T1 drawn", kind, seed, chosen, rng.multinomial(self.plan.contexts, shares), shares
        )

    def _mix_families(self, rng: np.random.Generator, m: int) -> list[str] | None:
        fields = rng.permutation(sorted(f for f, inside in self.concepts.fields.items() if inside))[
            :m
        ]
        return (
            [str(rng.choice(self.concepts.fields[f])) for f in fields] if len(fields) == m else None
        )

    def _mix_words(self, rng: np.random.Generator, m: int) -> list[str] | None:
        """None unless one is no family, and all are unrelated."""
        known = self.concepts
        pools = [sorted(p) for p in (known.families, known.singles, known.lemmas)]
        if not all(pools):
            return None
        chosen = [str(rng.choice(pools[rng.choice(3, p=(0.5, 0.3, 0.2))])) for _ in range(m)]
        if len(set(chosen)) < m or all(c in self.concepts.families for c in chosen):
            return None
        centres = np.stack([self.concepts.centres[c] for c in chosen])
        return chosen if (centres @ centres.T)[np.triu_indices(m, 1)].max() <= UNRELATED else None

    def near(self, seed: int) -> Iterator[Unit | None]:
        """T2: each family with its nearest one or two."""
        for name, others in self.concepts.near.items():
            for m in (2, 3):
                rng = generator("T2", self.split, seed, name, m)
                yield self._unit(
                    rng,
                    "T2",
                    f"m{m}",
                    seed,
                    [name, *others[: m - 1]],
                    draw_sizes(rng, m, self.plan.contexts),
                )

    def single(self, seed: int) -> Iterator[Unit | None]:
        """T3: one family, one lemma, one set of synonyms, one word."""
        words = generator("T3", self.split, seed).permutation(sorted(self.concepts.singles))[
            : self.plan.words
        ]
        kinds = {
            "family": self.concepts.families,
            "lemma": self.concepts.lemmas,
            "synonyms": self.concepts.synonyms,
            "word": {w: self.concepts.singles[w] for w in words.tolist()},
        }
        for kind, pools in kinds.items():
            for name, pool in pools.items():
                size = int(
                    np.clip(len(np.unique(self.found.document[pool])), 20, self.plan.contexts)
                )
                yield self._unit_of(
                    generator("T3", kind, self.split, seed, name),
                    "T3",
                    kind,
                    seed,
                    name,
                    [pool],
                    [size],
                )

    def uses(self, seed: int) -> Iterator[Unit | None]:
        """T4: two uses of one word, and words of one use."""
        for word, pools in self.concepts.homographs.items():
            rng = generator("T4", self.split, seed, word)
            n = self.plan.contexts
            first = int(rng.integers(round(0.3 * n), round(0.7 * n) + 1))
            yield self._unit_of(rng, "T4", "homograph", seed, word, pools, [first, n - first])
        for word, pool in self.concepts.controls.items():
            rng = generator("T4", "control", self.split, seed, word)
            yield self._unit_of(rng, "T4", "control", seed, word, [pool], [self.plan.contexts])

    def topics(self, seed: int) -> Iterator[Unit | None]:
        """T5: any noun, verb or adjective in documents of a genre."""
        content = np.isin(self.found.kind, ("noun", "verb", "adjective")) & self.found.is_word
        names, documents = np.unique(
            np.unique(np.stack([self.found.genre, self.found.document.astype(str)]), axis=1)[0],
            return_counts=True,
        )
        genres = half([str(n) for n in names[documents >= 24]], self.split)
        pools = {g: np.flatnonzero(content & (self.found.genre == g)) for g in genres}
        for m, rng, chosen in self._choices("T5", seed, genres):
            sizes = np.minimum(
                draw_sizes(rng, m, self.plan.contexts, 8), 24
            )  # a genre has no more documents
            yield self._unit_of(
                rng, "T5", f"m{m}", seed, "+".join(chosen), [pools[c] for c in chosen], sizes
            )

    def syntax(self, seed: int) -> Iterator[Unit | None]:
        """T6: forms and places in the sentence, whatever the word."""
        pools = find_syntax(self.found)
        for m, rng, chosen in self._choices("T6", seed, half(sorted(pools), self.split)):
            sizes = draw_sizes(rng, m, self.plan.contexts)
            yield self._unit_of(
                rng, "T6", f"m{m}", seed, "+".join(chosen), [pools[c] for c in chosen], sizes
            )

    def _choices(
        self, tier: str, seed: int, names: Sequence[str]
    ) -> Iterator[tuple[int, np.random.Generator, list[str]]]:
        for m in range(1, min(3, len(names)) + 1):
            for trial in range(self.plan.topics):
                rng = generator(tier, self.split, seed, m, trial)
                yield m, rng, rng.permutation(names)[:m].tolist()

    def nulls(self, seed: int) -> Iterator[Unit | None]:
        """T9: random words; two large senses and one of a twentieth of 100 contexts."""
        for trial in range(self.plan.random):
            rng = generator("T9 random", self.split, seed, trial)
            yield self._random(rng, seed)
        for trial in range(self.plan.rare):
            rng = generator("T9 rare", self.split, seed, trial)
            if chosen := self._mix_families(rng, 3):
                yield self._unit(rng, "T9", "rare", seed, chosen, [55, 40, 5])

    def _random(self, rng: np.random.Generator, seed: int) -> Unit:
        order = rng.permutation(len(self.found.row))
        first = np.unique(self.found.document[order], return_index=True)[1]
        places = order[np.sort(first)[: self.plan.contexts]]
        mass = np.exp(rng.normal(0, 0.3, len(places)))
        return Unit("T9", "random", seed, "random", places, np.full(len(places), NO_CONCEPT), mass)

    def _unit(
        self,
        rng: np.random.Generator,
        tier: str,
        kind: str,
        seed: int,
        chosen: Sequence[str],
        sizes: Sequence[int] | np.ndarray,
        shares: np.ndarray | None = None,
    ) -> Unit | None:
        known = self.concepts.families, self.concepts.lemmas, self.concepts.singles
        pools = [next(k[c] for k in known if c in k) for c in chosen]
        return self._unit_of(rng, tier, kind, seed, "+".join(chosen), pools, sizes, shares)

    def _unit_of(
        self,
        rng: np.random.Generator,
        tier: str,
        kind: str,
        seed: int,
        name: str,
        pools: Sequence[np.ndarray],
        sizes: Sequence[int] | np.ndarray,
        shares: np.ndarray | None = None,
    ) -> Unit | None:
        """shares: of the population, when the sizes are a sample of it.

        None when there are too few documents.
        """
        sizes = np.asarray(sizes)
        places = draw_places(rng, self.found, pools, sizes)
        if places is None:
            return None
        level = np.exp(rng.normal(0, 0.4, len(pools)))
        mass = np.repeat(level, sizes) * np.exp(rng.normal(0, 0.3, sizes.sum()))
        weight = level * (sizes if shares is None else shares)
        value = 1.0 - float(((weight / weight.sum()) ** 2).sum())
        return Unit(
            tier, kind, seed, name, places, np.repeat(np.arange(len(pools)), sizes), mass, value
        )


def draw_places(
    rng: np.random.Generator, found: Occurrences, pools: Sequence[np.ndarray], sizes: np.ndarray
) -> np.ndarray | None:
    """`sizes` places of each pool, no two of one document; frequent words are held back by the root
    of their count.

    The pool of the fewest documents chooses first. None when there are too few.
    """
    used: set[int] = set()
    chosen: dict[int, list[int]] = {}
    for k in sorted(range(len(pools)), key=lambda i: len(np.unique(found.document[pools[i]]))):
        _, form, counts = np.unique(found.form[pools[k]], return_inverse=True, return_counts=True)
        keys = rng.exponential(size=len(pools[k])) * np.sqrt(counts[form])
        chosen[k] = []
        for place in pools[k][np.argsort(keys)].tolist() if sizes[k] else ():
            document = int(found.document[place])
            if document not in used:
                used.add(document)
                chosen[k].append(place)
                if len(chosen[k]) == sizes[k]:
                    break
        if len(chosen[k]) < sizes[k]:
            return None
    return np.array([p for k in range(len(pools)) for p in chosen[k]], np.int64)


def find_syntax(found: Occurrences) -> dict[str, np.ndarray]:
    """Places by form or by place in the sentence."""
    tags = {
        "adverbs": ("rb",),
        "comparatives": ("jjr", "rbr"),
        "ing forms": ("vbg",),
        "names": ("np",),
        "numbers": ("cd",),
        "past participles": ("vbn",),
        "past tense": ("vbd",),
        "plural nouns": ("nns",),
        "possessives": ("nn$", "np$", "nns$"),
        "superlatives": ("jjt", "rbt"),
        "wh-words": ("wdt", "wps", "wpo", "wrb", "wp$"),
    }
    return {
        name: np.flatnonzero(np.isin(found.tag, kinds) & found.is_word)
        for name, kinds in tags.items()
    } | {"sentence starts": np.flatnonzero(found.opens & found.is_word)}


def half(names: Sequence[str], split: str) -> list[str]:
    """Every other one; the third set has none."""
    first = {"development": 0, "test": 1}.get(split)
    return [] if first is None else list(names[first::2])
