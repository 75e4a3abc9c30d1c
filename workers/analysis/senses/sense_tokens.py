"""Tokens that set a sense apart from the corpus: log-odds with an informative Dirichlet prior.

Source: Monroe, Colaresi and Quinn 2008, "Fightin' Words", section 3.4, with the corpus' own counts
as prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from polyseme.workers.analysis.contexts.peak_places import NEAR

KEPT = 10
PRIOR = 10.0  # tokens that the prior counts for

_FEWEST_NEAR = 2  # contexts that must share a token beside the peak before it says anything


@dataclass(frozen=True, eq=False)
class SenseTokens:
    """By sense, most characteristic first."""

    offsets: np.ndarray  # (M + 1,)
    token: np.ndarray  # int32
    at: np.ndarray  # str: "peak" or "near"
    count: np.ndarray  # int32: contexts of the sense that hold it there
    z: np.ndarray  # float32: how many standard deviations its log-odds lie above the corpus'


def find_sense_tokens(
    owner: np.ndarray, near: np.ndarray, senses: int, corpus: np.ndarray
) -> SenseTokens:
    """Those at the peaks and those beside them, each compared with the corpus.

    A token counts once a context.

    owner: (C,) the sense of each context, or negative; near: (C, 2 * NEAR + 1) tokens around its
    peak, -1 for none; corpus: (V,) how often each token stands in the corpus.
    """
    peak = _compare(owner, np.ascontiguousarray(near[:, NEAR : NEAR + 1]), senses, corpus, fewest=1)
    beside = _compare(owner, np.delete(near, NEAR, axis=1), senses, corpus, fewest=_FEWEST_NEAR)
    sense, token, count, z = (np.concatenate(columns) for columns in zip(peak, beside, strict=True))
    at = np.repeat(["peak", "near"], [len(peak[0]), len(beside[0])])
    order = np.lexsort((token, -count, -z, sense))
    order = order[_rank(sense[order]) < KEPT]
    return SenseTokens(
        offsets=np.searchsorted(sense[order], np.arange(senses + 1)),
        token=token[order].astype(np.int32),
        at=at[order],
        count=count[order].astype(np.int32),
        z=z[order].astype(np.float32),
    )


def _compare(
    owner: np.ndarray, near: np.ndarray, senses: int, corpus: np.ndarray, *, fewest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sense, token, contexts and z of every token that at least `fewest` contexts of a sense
    hold.
    """
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(senses + 1))
    places = first * near.shape[1]
    token, count = np.zeros((2, places[-1] if senses else 0), np.int32)
    total = np.zeros(senses)
    _count_tokens(order, first, near, places, token, count, total)
    kept = np.flatnonzero(count >= fewest)
    sense, token, count = (
        np.searchsorted(places, kept, "right") - 1,
        token[kept],
        count[kept].astype(np.int64),
    )
    z = _log_odds(count, total[sense], corpus[token], corpus.sum())
    apart = z > 0
    return sense[apart], token[apart], count[apart], z[apart]


@numba.njit(parallel=True, nogil=True, cache=True)
def _count_tokens(order, first, near, places, token, count, total):  # type: ignore[no-untyped-def]
    """In how many of its contexts each token of a sense stands.

    order: (C,) the contexts by sense; first: (M + 1,) where each sense's are in it; near: (C, W),
    -1 for none. Set: token, count (K,) int32, those of sense m from places[m] on, ascending, 0
    behind the last; total (M,) float64, the sum of a sense's counts.
    """
    for m in numba.prange(len(total)):
        found, size = np.empty(places[m + 1] - places[m], near.dtype), 0
        for context in order[first[m] : first[m + 1]]:
            begin = size
            for t in near[context]:
                found[size] = t
                at = begin
                while found[at] != t:
                    at += 1
                size += t >= 0 and at == size
        total[m] = size
        at = places[m] - 1
        for i, t in enumerate(np.sort(found[:size])):
            if i == 0 or t != token[at]:
                at += 1
                token[at] = t
            count[at] += 1


def _log_odds(
    count: np.ndarray, total: np.ndarray, in_corpus: np.ndarray, corpus: float
) -> np.ndarray:
    """z-scores of the difference of log-odds between a sense and the corpus."""
    corpus = max(corpus, 1.0)
    # A token that the corpus counts leave out still needs a prior above 0.
    prior = PRIOR * np.maximum(in_corpus, 0.5) / corpus
    own, other = count + prior, in_corpus + prior
    ends = np.log(own / (total + PRIOR - own)), np.log(other / (corpus + PRIOR - other))
    return (ends[0] - ends[1]) / np.sqrt(1 / own + 1 / other)


def _rank(groups: np.ndarray) -> np.ndarray:
    """Place of each entry in its run of equal values."""
    starts = np.searchsorted(groups, groups)
    return np.arange(len(groups)) - starts
