"""Tokens that set a sense apart from the corpus: log-odds with an informative Dirichlet prior.

Source: Monroe, Colaresi and Quinn 2008, "Fightin' Words", section 3.4, with the corpus' own counts as prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 4  # tokens on each side of the peak
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


def find_sense_tokens(owner: np.ndarray, near: np.ndarray, senses: int, corpus: np.ndarray) -> SenseTokens:
    """Those at the peaks and those beside them, each compared with the corpus. A token counts once a context.

    owner: (C,) the sense of each context, or negative; near: (C, 2 * NEAR + 1) tokens around its peak, -1 for none;
    corpus: (V,) how often each token stands in the corpus.
    """
    peak = _compare(owner, near[:, NEAR : NEAR + 1], senses, corpus, fewest=1)
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
    """Sense, token, contexts and z of every token that at least `fewest` contexts of a sense hold."""
    context, column = ((owner >= 0)[:, None] & (near >= 0)).nonzero()
    seen = np.unique(context << 32 | near[context, column].astype(np.int64))
    pairs, count = np.unique(owner[seen >> 32] << 32 | seen & 0xFFFF_FFFF, return_counts=True)
    sense, token = pairs >> 32, pairs & 0xFFFF_FFFF
    z = _log_odds(count, np.bincount(sense, count, senses)[sense], corpus[token], corpus.sum())
    kept = (count >= fewest) & (z > 0)
    return sense[kept], token[kept], count[kept], z[kept]


def _log_odds(count: np.ndarray, total: np.ndarray, in_corpus: np.ndarray, corpus: float) -> np.ndarray:
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
