"""Spaces in which contexts are compared: vectors, what a dimension counts for, and how far apart
random tokens are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from polyseme.workers.analysis.senses import clustering
from polyseme.workers.analysis.senses.background import Scale, to_unit
from polyseme.workers.analysis.senses.records import Evidence

_NONE = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Space:
    """P dimensions. Without weights all neurons share one scale."""

    vectors: (
        np.ndarray
    )  # (U, P) float32, of the contexts' peaks; unit length unless there are weights
    random: np.ndarray  # (R, P) float32, of the random tokens, likewise
    scales: tuple[Scale, ...]  # one, or one a neuron
    uses: np.ndarray = field(
        default_factory=lambda: _NONE
    )  # (U, Q) float32: tells uses of one word apart; or (0, 0)
    weights: np.ndarray = field(
        default_factory=lambda: _NONE
    )  # (N, P): of each dimension for a neuron; or (0, 0)
    raised: float = 0.0  # by how much all limits are higher than for peaks' vectors, in z
    # False: the vectors say nothing of the peak tokens, which are taken for one and the same
    of_words: bool = True

    def of_neurons(self, value: Callable[[Scale], float], neurons: slice) -> np.ndarray:
        """A number of each neuron's scale, (N,) float64 for a run of neurons."""
        if len(self.scales) == 1:
            return np.full(neurons.stop - neurons.start, value(self.scales[0]), np.float64)
        return np.array([value(s) for s in self.scales[neurons]], np.float64)

    def read(self, distances: np.ndarray, neuron: np.ndarray) -> np.ndarray:
        """Quantiles of distances of the given neurons' contexts."""
        if len(self.scales) == 1:
            return self.scales[0].read(distances)
        edges = np.searchsorted(neuron, np.arange(len(self.scales) + 1))
        parts = [
            s.read(distances[a:b])
            for s, a, b in zip(self.scales, edges[:-1], edges[1:], strict=True)
        ]
        return np.concatenate(parts)

    def centres(self, evidence: Evidence, owner: np.ndarray, senses: int) -> np.ndarray:
        """The sum of each sense's vectors, (M, P). owner: (C,) the sense of each context, or
        negative.
        """
        centres = np.zeros((senses, self.vectors.shape[1]), np.float32)
        clustering.add_centres(
            self.vectors, evidence.place, evidence.offsets, self.weights, owner, centres
        )
        return centres

    def similarity(self, centres: np.ndarray, neuron: np.ndarray) -> np.ndarray:
        """Of some senses with each random token, (m, R), up to a factor a sense.

        centres: (m, P); neuron: (m,) whose senses they are, ascending.
        """
        if not len(self.weights):
            return centres @ self.random.T
        first, end = neuron[0], neuron[-1] + 1
        weights = self.weights[first:end]
        lengths = np.sqrt(np.maximum(weights @ (self.random * self.random).T, 1e-20))  # (n, R)
        products: np.ndarray = (centres * np.sqrt(self.weights[neuron])) @ self.random.T
        return products / lengths[neuron - first]


TOPIC_RAISED = 1.3  # for what stands around tokens: a topic is broad, a third of a corpus or so
WORD_WEIGHT = 0.5  # of the peak word's vector beside the residual one of length 1


def add_words(space: Space, words: np.ndarray, random: np.ndarray) -> Space:
    """The space with the vectors of the peak words beside it: (U, E) and, of the random tokens, (R,
    E).
    """
    mean = random.mean(0)
    joined = [
        to_unit(np.concatenate([own, np.float32(WORD_WEIGHT) * to_unit(word - mean)], axis=1))
        for own, word in ((space.vectors, words), (space.random, random))
    ]
    return replace(space, vectors=joined[0], random=joined[1], scales=(Scale.of(joined[1]),))


_RANDOM_INPUTS = 128  # random tokens whose distances give a neuron's own scale


def neuron_space(
    inputs: np.ndarray, random: np.ndarray, energy: np.ndarray, uses: np.ndarray
) -> Space:
    """Each neuron compares MLP inputs by what its own input weights make of them.

    inputs: (U, D), random: (R, D), inputs of the neuron's MLP; energy: (N, D), the squared input
    weights of a neuron, summed over its input matrices; uses: as in Space. Source: Foote 2024, as
    an inner product weighted by `energy`.
    """
    mean = random.astype(np.float32).mean(0)
    centred, random = inputs.astype(np.float32) - mean, random.astype(np.float32) - mean
    few = random[:: max(len(random) // _RANDOM_INPUTS, 1)][:_RANDOM_INPUTS]
    scales = tuple(Scale.of(to_unit(few * np.sqrt(e))) for e in energy)
    return Space(centred, random, scales, uses, np.ascontiguousarray(energy, np.float32))
