"""Contexts whose vectors and words the test chooses."""

from __future__ import annotations

import numpy as np

from polyseme.workers.analysis.senses.material import Material, measure_scales
from polyseme.workers.analysis.senses.pairs import LETTERS, VECTORS, PairKind
from polyseme.workers.analysis.senses.records import Evidence

RANDOM = 600


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_tokens(width: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(RANDOM, width)))


def to_material(
    vectors: np.ndarray,
    word: np.ndarray | None = None,
    uses: np.ndarray | None = None,
    kind: PairKind = VECTORS,
) -> Material:
    """Each context of a word of its own, unless they are given; every word has letters, and there
    is no encoder.
    """
    count, width = vectors.shape
    random = random_tokens(width)
    every, nothing = np.arange(RANDOM, dtype=np.int32), np.zeros((RANDOM, 0), np.float32)
    words = np.arange(count, dtype=np.int32) if word is None else word.astype(np.int32)
    return Material(
        kind=kind,
        vectors=unit(vectors),
        uses=np.zeros((count, 2), np.float32) if uses is None else uses.astype(np.float32),
        encoded=np.zeros((words.max(initial=0) + 1, 0), np.float32),
        word=words,
        spelling=np.full(words.max(initial=0) + 1, LETTERS, np.int8),
        random=random,
        scales=measure_scales(random, nothing, nothing, every, every >= 0, every),
    )


def to_evidence(
    *sizes: int, mass: np.ndarray | None = None, shown: np.ndarray | None = None
) -> Evidence:
    """Units with so many contexts, each at a place and on a token of its own."""
    count = sum(sizes)
    every = np.arange(count)
    return Evidence(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        context=every,
        place=every,
        mass=np.ones(count) if mass is None else mass.astype(np.float64),
        token=every.astype(np.int32),
        shown=np.ones(count, bool) if shown is None else shown,
    )
