"""The chance that two contexts mean the same: a logistic model of a few distances, each read
against the job's own random pairs, so that it holds for every layer, model and corpus.

`python -m benchmarks pairs` fits the coefficients; benchmarks/senses/RESULTS.md has how well they
hold on concepts, layers, models and texts that the fit did not see.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, astuple, dataclass

import numba
import numpy as np

from polyseme.contract.records.request import Senses

_options = {"nogil": True, "cache": True, "error_model": "numpy"}

USES_FLOOR = 0.02  # added to a squared distance of two uses before its logarithm
NO_WORD = -1  # in place of a word: the peak stands for no text
SIGN, LETTERS, NUMBER = 0, 1, 2  # spelling of a word: without letters and digits, with letters, …


@dataclass(frozen=True)
class PairModel:
    """Logits of the chance that two contexts mean the same.

    z: distance of their vectors; e: likeness of their words to the encoder; f: logarithm of the
    squared distance of two uses of one word. Each less the mean of the job's random pairs, over
    their deviation.
    """

    # Different words: 1, z, max(z + 2.5, 0), e, max(e - 2, 0), z e. Without an encoder e is 0.
    different: tuple[float, float, float, float, float, float]
    same: tuple[float, float, float]  # one word, casefolded: 1, z, f
    plain: tuple[float, float]  # a word without letters on either side: 1, z
    numbers: float = 0.0  # added where both are numbers; set, not fitted

    def as_array(self) -> np.ndarray:
        """(12,) float64, in the order above."""
        return np.concatenate([np.atleast_1d(np.array(part, np.float64)) for part in astuple(self)])


@dataclass(frozen=True)
class PairKind:
    """What a kind of material is judged by: whether two contexts mean one thing, and whether they
    belong to one field of things or do the same in a sentence.
    """

    name: str  # as in a manifest
    narrow: PairModel
    broad: PairModel

    @property
    def sha256(self) -> str:
        """Of the coefficients."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


_SAME, _PLAIN = (3.294, 0.203, -1.756), (-3.383, -0.920)
_BROAD = (-2.732, -1.083, 0.323, 1.025, 0.487, 0.042)
_ONE_FIELD = 6.0  # all numbers are of one

# With an encoder's vectors of the words, and without.
WORDS = PairKind(
    "vectors+words",
    narrow=PairModel((-3.836, -0.967, -0.110, 1.775, 0.914, 0.248), _SAME, _PLAIN),
    broad=PairModel(_BROAD, _SAME, _PLAIN, _ONE_FIELD),
)
VECTORS = PairKind(
    "vectors",
    narrow=PairModel((-2.432, -0.902, -0.477, 0.0, 0.0, 0.0), _SAME, _PLAIN),
    broad=PairModel((-3.021, -1.438, 0.440, 0.0, 0.0, 0.0), _SAME, _PLAIN, _ONE_FIELD),
)
# What stands around the peaks: every pair is one of no words.
TOPICS = PairKind(
    "topics",
    narrow=PairModel((0.0,) * 6, (0.0,) * 3, (-0.40, -0.87)),
    broad=PairModel((0.0,) * 6, (0.0,) * 3, (-0.40, -0.87)),
)


def kind_of_pairs(options: Senses, *, has_words: bool) -> PairKind:
    """What a request's kind of vectors is judged by. has_words: whether there is an encoder."""
    if options.vectors == "window":
        return TOPICS
    return WORDS if has_words else VECTORS


@numba.njit(**_options)
def fill_chances(material, scales, narrow, broad, place, mass, same, field):  # type: ignore[no-untyped-def]
    """Both chances of every pair of one unit's contexts.

    material: vectors (U, P) float32 of unit length, uses (U, Q) float32, encoded (M, E) float32 of
    unit length (E 0 without an encoder), word (U,) int32 into these or NO_WORD, spelling (M,) int8.
    scales: (6,) float64, centre and spread of z, e and f. narrow, broad: as `PairModel.as_array`.
    place: (n,) int64; mass: (n,) float64. Set: same, field (n, n) float32, 1 on the diagonal.
    Returns the mass-weighted mean cosine of the vectors.
    """
    vectors, uses, encoded, word, spelling = material
    n = len(place)
    rows, words, used = _take(vectors, place), word[place], _take(uses, place)
    told, kind = _distinct(words)
    likeness = _cosines(encoded, told) if encoded.shape[1] else np.zeros((0, 0), np.float32)
    total, pairs = 0.0, 0.0
    for i in range(n):
        same[i, i] = field[i, i] = np.float32(1.0)
        for k in range(i):
            cosine = _dot(rows[i], rows[k])
            total += mass[i] * mass[k] * cosine
            pairs += mass[i] * mass[k]
            z = (1.0 - cosine - scales[0]) / scales[1]
            a, b = words[i], words[k]
            if a < 0 or b < 0 or spelling[a] != LETTERS or spelling[b] != LETTERS:
                first = narrow[9] + narrow[10] * z
                second = broad[9] + broad[10] * z
                if a >= 0 and b >= 0 and spelling[a] == NUMBER and spelling[b] == NUMBER:
                    first += narrow[11]
                    second += broad[11]
            elif a == b:
                gap = 0.0
                for d in range(used.shape[1]):
                    step = used[i, d] - used[k, d]
                    gap += step * step
                f = (np.log(gap + USES_FLOOR) - scales[4]) / scales[5]
                first = narrow[6] + narrow[7] * z + narrow[8] * f
                second = broad[6] + broad[7] * z + broad[8] * f
            else:
                e = 0.0
                if len(likeness):
                    e = (likeness[kind[i], kind[k]] - scales[2]) / scales[3]
                first, second = _different(narrow, z, e), _different(broad, z, e)
            same[i, k] = same[k, i] = np.float32(1.0 / (1.0 + np.exp(-first)))
            field[i, k] = field[k, i] = np.float32(1.0 / (1.0 + np.exp(-second)))
    return total / pairs if pairs > 0 else np.nan


@numba.njit(inline="always", **_options)
def _different(model, z, e):  # type: ignore[no-untyped-def]
    return (
        model[0]
        + model[1] * z
        + model[2] * max(z + 2.5, 0.0)
        + model[3] * e
        + model[4] * max(e - 2.0, 0.0)
        + model[5] * z * e
    )


@numba.njit(**_options)
def _take(rows, place):  # type: ignore[no-untyped-def]
    found = np.empty((len(place), rows.shape[1]), np.float32)
    for i in range(len(place)):
        found[i] = rows[place[i]]
    return found


@numba.njit(**_options)
def _distinct(words):  # type: ignore[no-untyped-def]
    """The different words, NO_WORD left out, and which of them each is."""
    told, kind = np.unique(words[words >= 0]), np.zeros(len(words), np.int64)
    for i in range(len(words)):
        kind[i] = np.searchsorted(told, words[i]) if words[i] >= 0 else 0
    return told, kind


@numba.njit(**_options)
def _cosines(encoded, told):  # type: ignore[no-untyped-def]
    own = _take(encoded, told.astype(np.int64))
    found = np.ones((len(told), len(told)), np.float32)
    for i in range(len(told)):
        for k in range(i):
            found[i, k] = found[k, i] = _dot(own[i], own[k])
    return found


@numba.njit(fastmath=True, **_options)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total
