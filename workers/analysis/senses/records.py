"""What the search for senses takes and gives, as columns over contexts, units and senses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.workers.analysis.senses.sense_tokens import SenseTokens


@dataclass(frozen=True, eq=False)
class Evidence:
    """The contexts of one tail that have a positive activation on it, by unit.

    C contexts, N units.
    """

    offsets: np.ndarray  # (N + 1,) int64
    context: np.ndarray  # (C,) int64, which of the layer's contexts it is
    place: np.ndarray  # (C,) int64, its peak in the material
    mass: np.ndarray  # (C,) float64, its activation's size
    token: np.ndarray  # (C,) int32, at the peak
    shown: np.ndarray  # (C,) bool, kept with its text

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def neuron(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.offsets) - 1), self.sizes)


@dataclass(frozen=True, eq=False)
class Tree:
    """Every unit's agglomeration, unit j's from offsets[j] on; see
    `polyseme.contract.files.results.MERGE`.
    """

    left: np.ndarray  # (C,) int16
    right: np.ndarray  # (C,) int16
    # (C,) float32: the largest `same_at` at which the two are one; the last of each unit means
    # nothing
    same: np.ndarray


@dataclass(frozen=True, eq=False)
class SenseTable:
    """Senses as columns, by unit and number.

    M senses; units of measure as in `polyseme.contract.files.results.SENSE`.
    """

    neuron: np.ndarray  # (M,) int64
    sense: np.ndarray  # (M,) int32, and so on
    share: np.ndarray
    size: np.ndarray
    replication: np.ndarray
    sure: np.ndarray  # bool
    broad: np.ndarray
    within: np.ndarray
    between: np.ndarray
    medoid: np.ndarray  # which of the layer's contexts, or NONE
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
    # (N,) float64 each, NaN for null: those of `polyseme.contract.files.results.SCORES` that need
    # no control units; sure_share, of the firing in the contexts that sure senses explain; and
    # sure_fields, broad senses with a sure one
    scores: dict[str, np.ndarray]
    table: SenseTable
    owner: np.ndarray  # (C,) int64, the row of each context's sense in the table, or NONE
    tokens: SenseTokens | None = None
