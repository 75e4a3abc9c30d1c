"""Spaces in which contexts are compared: vectors, what a dimension counts for, and how far apart random tokens are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workers.analysis import agglomeration
from workers.analysis.background import Scale, to_unit

if TYPE_CHECKING:
    from workers.analysis.senses import Evidence

_NO_WEIGHTS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Space:
    """P dimensions. Without weights all neurons share one scale."""

    vectors: np.ndarray  # (U, P) float32, of the contexts' peaks; unit length unless there are weights
    random: np.ndarray  # (R, P) float32, of the random tokens, likewise
    scales: tuple[Scale, ...]  # one, or one a neuron
    weights: np.ndarray = field(
        default_factory=lambda: _NO_WEIGHTS
    )  # (N, P) float32: of each dimension in a neuron's inner products; or (0, 0)

    def limits(self, alpha: float, part: slice) -> np.ndarray:
        """The cosine distance at the alpha-quantile, (N,) float32 for the neurons of `part`."""
        scales = self.scales[part] if len(self.scales) > 1 else self.scales * (part.stop - part.start)
        return np.array([s.distance(alpha) for s in scales], np.float32)

    def read(self, distances: np.ndarray, neuron: np.ndarray) -> np.ndarray:
        """Quantiles of distances of the given neurons' contexts."""
        if len(self.scales) == 1:
            return self.scales[0].read(distances)
        edges = np.searchsorted(neuron, np.arange(len(self.scales) + 1))
        parts = [s.read(distances[a:b]) for s, a, b in zip(self.scales, edges[:-1], edges[1:], strict=True)]
        return np.concatenate(parts)

    def similarity(self, evidence: Evidence, owner: np.ndarray, neuron: np.ndarray) -> np.ndarray:
        """Of each sense's mean vector with each random token, (M, R), up to a factor a sense.

        owner: (C,) the sense of each context, or negative; neuron: (M,).
        """
        centres = np.zeros((len(neuron), self.vectors.shape[1]), np.float32)
        agglomeration.add_centres(self.vectors, evidence.place, evidence.offsets, self.weights, owner, centres)
        if not len(self.weights):
            return centres @ self.random.T
        lengths = np.sqrt(np.maximum(self.weights @ (self.random * self.random).T, 1e-20))  # (N, R)
        found: np.ndarray = (centres * np.sqrt(self.weights[neuron])) @ self.random.T
        return found / lengths[neuron]


def join_spaces(a: np.ndarray, a_random: np.ndarray, b: np.ndarray, b_random: np.ndarray) -> Space:
    """Two kinds of unit vectors side by side, with equal say: (U, A) and (U, B), random ones (R, A) and (R, B)."""
    half = np.float32(np.sqrt(0.5))
    vectors, random = (np.concatenate(pair, axis=1) * half for pair in ((a, b), (a_random, b_random)))
    return Space(vectors, random, (Scale.of(random),))


_RANDOM_INPUTS = 128  # random tokens whose distances give a neuron's own scale


def neuron_space(inputs: np.ndarray, random: np.ndarray, energy: np.ndarray) -> Space:
    """Each neuron compares MLP inputs by what its own input weights make of them.

    inputs: (U, D), random: (R, D), inputs of the neuron's MLP; energy: (N, D), the squared input weights of a neuron,
    summed over its input matrices. Source: Foote 2024, in the form of an inner product weighted by `energy`.
    """
    mean = random.astype(np.float32).mean(0)
    centred, random = inputs.astype(np.float32) - mean, random.astype(np.float32) - mean
    few = random[:: max(len(random) // _RANDOM_INPUTS, 1)][:_RANDOM_INPUTS]
    scales = tuple(Scale.of(to_unit(few * np.sqrt(e))) for e in energy)
    return Space(centred, random, scales, np.ascontiguousarray(energy, np.float32))
