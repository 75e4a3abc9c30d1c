"""What the search for senses takes and gives, as columns over contexts, neurons and senses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.senses.sense_tokens import SenseTokens


@dataclass(frozen=True, eq=False)
class Evidence:
    """The contexts of one tail that have a positive activation on it, by neuron.

    C contexts, N neurons.
    """

    offsets: np.ndarray  # (N + 1,) int64
    context: np.ndarray  # (C,) int64, which of the layer's contexts it is
    place: np.ndarray  # (C,) int64, its vector in the space
    mass: np.ndarray  # (C,) float64, its activation's size
    token: np.ndarray  # (C,) int32, at the peak

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def neuron(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.offsets) - 1), self.sizes)


@dataclass(frozen=True, eq=False)
class Tree:
    """Every neuron's agglomeration, neuron j's from offsets[j] on; see
    `polyseme.contract.files.results.MERGE`.
    """

    left: np.ndarray  # (C,) int16
    right: np.ndarray  # (C,) int16
    height: (
        np.ndarray
    )  # (C,) float32: the alpha from which the two are one; the last of each neuron means nothing


@dataclass(frozen=True, eq=False)
class SenseTable:
    """Senses as columns, by neuron and number.

    M senses; units as in `polyseme.contract.files.results.SENSE`.
    """

    neuron: np.ndarray  # (M,) int64
    sense: np.ndarray  # (M,) int32, and so on
    share: np.ndarray
    size: np.ndarray
    cohesion: np.ndarray
    separation: np.ndarray
    medoid: np.ndarray  # which of the layer's contexts
    activation_min: np.ndarray
    activation_median: np.ndarray
    activation_max: np.ndarray
    lexical_diversity: np.ndarray
    auprc: np.ndarray
    auprc_baseline: np.ndarray


@dataclass(frozen=True, eq=False)
class TailSenses:
    evidence: Evidence
    sense: np.ndarray  # (C,) int32, or NONE
    tree: Tree
    scores: dict[
        str, np.ndarray
    ]  # (N,) each, by the names of `polyseme.contract.files.results.SCORES`; NaN for null
    table: SenseTable
    owner: np.ndarray  # (C,) int64, the row of each context's sense in the table, or NONE
    tokens: SenseTokens | None = None
