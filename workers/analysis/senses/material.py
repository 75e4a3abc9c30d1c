"""What contexts are compared by: vectors, uses, words, and how far apart random tokens are in
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.senses.background import pair_products, random_pairs
from polyseme.workers.analysis.senses.pairs import (
    LETTERS,
    NO_WORD,
    NUMBER,
    SIGN,
    USES_FLOOR,
    PairKind,
    fill_chances,
)
from polyseme.workers.analysis.senses.predictions import add_centres
from polyseme.workers.analysis.senses.records import Evidence


@dataclass(frozen=True, eq=False)
class Material:
    """U places of contexts and R random tokens in P dimensions."""

    kind: PairKind
    vectors: np.ndarray  # (U, P) float32, unit length
    uses: np.ndarray  # (U, Q) float32
    encoded: np.ndarray  # (M, E) float32, unit length; (M, 0) without an encoder
    word: np.ndarray  # (U,) int32, into the M words, or NO_WORD
    spelling: np.ndarray  # (M,) int8: SIGN, LETTERS or NUMBER
    random: np.ndarray  # (R, P) float32, unit length
    scales: np.ndarray  # (6,) float64, see `pairs.fill_chances`

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.vectors, self.uses, self.encoded, self.word, self.spelling

    @property
    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        return self.kind.narrow.as_array(), self.kind.broad.as_array()

    def chances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The chance that each of some places means the same as each of others, (A, B) float32."""
        place = np.concatenate([a, b]).astype(np.int64)
        same, field = np.empty((2, len(place), len(place)), np.float32)
        narrow, broad = self.coefficients
        mass = np.ones(len(place))
        fill_chances(self.arrays, self.scales, narrow, broad, place, mass, same, field)
        return same[: len(a), len(a) :]

    def centres(self, evidence: Evidence, owner: np.ndarray, senses: int) -> np.ndarray:
        """The sum of each sense's vectors, (M, P). owner: (C,) the sense of each context, or
        negative.
        """
        centres = np.zeros((senses, self.vectors.shape[1]), np.float32)
        add_centres(self.vectors, evidence.place, evidence.offsets, owner, centres)
        return centres


def number_words(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The different words, casefolded, and which of them each is, (n,) int32; NO_WORD for an empty
    one.
    """
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(t.casefold(), len(numbers)) if t else NO_WORD for t in texts]
    return list(numbers), np.array(found, np.int32)


def find_spelling(words: Sequence[str]) -> np.ndarray:
    """(M,) int8: LETTERS with any letter, NUMBER with digits and no letter, else SIGN."""

    def of(word: str) -> int:
        if any(map(str.isalpha, word)):
            return LETTERS
        return NUMBER if any(map(str.isdigit, word)) else SIGN

    return np.array([of(word) for word in words], np.int8)


def measure_scales(
    random: np.ndarray,
    uses: np.ndarray,
    encoded: np.ndarray,
    word: np.ndarray,
    spelling: np.ndarray,
    window: np.ndarray,
) -> np.ndarray:
    """Centre and spread of z, e and f over pairs of random tokens, (6,) float64.

    z, e: of different words; f: of one word in different windows. random, uses: (R, …) vectors of
    the tokens; word: (R,) theirs; window: (R,); encoded, spelling: of the words.
    """
    a, b = random_pairs(len(random))
    other = (word[a] >= 0) & (word[b] >= 0) & (word[a] != word[b])
    a, b = a[other], b[other]
    told = (spelling[word[a]] == LETTERS) & (spelling[word[b]] == LETTERS)
    e = pair_products(encoded, word[a[told]], word[b[told]])
    f = np.log(_gaps(uses, *_same_word(word, spelling, window)) + USES_FLOOR)
    values = 1.0 - pair_products(random, a, b), e, f
    return np.array([number for some in values for number in _centre(some)])


def measure_scale(random: np.ndarray) -> np.ndarray:
    """The same where there are no words: z over pairs of any tokens, the others 0 and 1."""
    a, b = random_pairs(len(random))
    return np.array([*_centre(1.0 - pair_products(random, a, b)), 0.0, 1.0, 0.0, 1.0])


_MOST_SAME = 100_000


def _same_word(
    word: np.ndarray, spelling: np.ndarray, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of random tokens of one word with letters, in different windows."""
    use = np.flatnonzero((word >= 0) & (spelling[word.clip(0)] == LETTERS))
    order = use[np.argsort(word[use], kind="stable")]
    firsts, seconds, found = [order[:0]], [order[:0]], 0
    for step in range(1, len(order)):
        near = word[order[step:]] == word[order[:-step]]
        firsts.append(order[:-step][near])
        seconds.append(order[step:][near])
        found += len(firsts[-1])
        if not len(firsts[-1]) or found > _MOST_SAME:
            break
    a, b = np.concatenate(firsts), np.concatenate(seconds)
    apart = window[a] != window[b]
    return a[apart], b[apart]


def _gaps(uses: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.square(uses[a].astype(np.float64) - uses[b]).sum(1)


def _centre(values: np.ndarray) -> tuple[float, float]:
    """Mean and deviation; 0 and 1 where there are too few to tell."""
    if len(values) < 2 or values.std() < 1e-9:
        return float(values.mean()) if len(values) else 0.0, 1.0
    return float(values.mean()), float(values.std())
