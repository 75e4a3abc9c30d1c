"""Senses: what a unit's contexts have in common, in how many groups, and how sure that is.
docs/measures.md explains.

Knows contexts and vectors, not files or models. One tail of one layer's units at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polyseme.contract.files.results import EVIDENCE_CONTEXTS, SMALLEST_SENSE, SURE
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.machine.stopping import Stop, never, until
from polyseme.workers.analysis.senses import grouping
from polyseme.workers.analysis.senses.grouping import NONE
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.predictions import average_precision
from polyseme.workers.analysis.senses.records import Evidence, SenseTable, TailSenses, Tree
from polyseme.workers.analysis.senses.replication import predict_replication

FEWEST_FIRINGS = 5  # random tokens a unit must fire on before a prediction of it means anything

_UNITS = 1 << 8  # grouped before anyone is asked whether to stop
_SENSES = 1 << 13  # whose similarities with all random tokens are in memory at once


def find_senses(
    evidence: Evidence,
    material: Material,
    fires: np.ndarray | None,
    options: Senses,
    should_stop: Stop = never,
) -> TailSenses:
    """fires: (R, N) int8 for the material's random tokens: 1 fires, 0 does not, -1 left out; None
    when it is not known.

    Raises Cancelled.
    """
    slots = _Slots(len(evidence.mass), len(evidence.sizes))
    for part in until(_parts(len(evidence.sizes)), should_stop):
        _group(evidence, material, options, part, slots)
    few = evidence.sizes < EVIDENCE_CONTEXTS
    slots.clear(np.repeat(few, evidence.sizes))
    held = np.flatnonzero(slots.size)
    owner = _owners(evidence, slots, held)
    table = _make_table(evidence, material, slots, held, owner, fires)
    scores = _score(evidence, slots, table, ~few)
    return TailSenses(evidence, slots.sense, slots.tree, scores, table, owner)


class _Slots:
    """What the kernels fill: a value for each context, for each sense in its unit's slots, and for
    each unit.
    """

    def __init__(self, contexts: int, units: int) -> None:
        self.tree = Tree(
            np.zeros(contexts, np.int16),
            np.zeros(contexts, np.int16),
            np.zeros(contexts, np.float32),
        )
        self.sense = np.full(contexts, NONE, np.int32)
        self.size, self.medoid, self.broad, self.words = np.zeros((4, contexts), np.int32)
        self.share, self.within, self.between = np.full((3, contexts), np.nan)
        self.alike, self.low, self.high, self.covered, self.cosine, self.apart = np.full(
            (6, units), np.nan
        )

    @property
    def senses(self) -> tuple[np.ndarray, ...]:
        found = self.sense, self.size, self.share, self.within, self.between, self.medoid
        return *found, self.broad, self.words

    @property
    def units(self) -> tuple[np.ndarray, ...]:
        return self.alike, self.low, self.high, self.covered, self.cosine, self.apart

    def clear(self, contexts: np.ndarray) -> None:
        """Takes the senses of some contexts' units away. contexts: (C,) bool."""
        self.sense[contexts], self.size[contexts] = NONE, 0


def _parts(units: int) -> Iterator[slice]:
    for first in range(0, units, _UNITS):
        yield slice(first, min(first + _UNITS, units))


def _group(
    evidence: Evidence, material: Material, options: Senses, part: slice, slots: _Slots
) -> None:
    offsets, sizes = evidence.offsets[part.start : part.stop + 1], evidence.sizes[part]
    least = np.maximum(options.min_contexts, np.ceil(SMALLEST_SENSE * sizes)).astype(np.int64)
    grouping.group_units(
        material.arrays, material.scales, *material.coefficients,
        offsets, evidence.place, evidence.mass, evidence.shown, least, options.same_at,
        (slots.tree.left, slots.tree.right, slots.tree.same), slots.senses,
        tuple(column[part] for column in slots.units),
    )  # fmt: skip


def _score(
    evidence: Evidence, slots: _Slots, table: SenseTable, enough: np.ndarray
) -> dict[str, np.ndarray]:
    """Of the units with enough contexts. enough: (N,) bool."""
    units = len(enough)
    alike = np.maximum(slots.alike, 1 / np.maximum(evidence.sizes, 1))
    scores = {
        "polysemanticity": 1 - slots.alike,
        "polysemanticity_low": 1 - slots.high,
        "polysemanticity_high": 1 - slots.low,
        "effective_senses": 1 / alike,
        "sense_count": np.bincount(table.neuron, minlength=units).astype(np.float64),
        "broad_count": _most(table.broad + 1, table.neuron, units),
        "sure_count": np.bincount(table.neuron, table.sure, minlength=units),
        "sure_fields": _count_fields(table, units),
        "sure_share": np.bincount(table.neuron, table.share * table.sure, minlength=units)
        * slots.covered,
        "coverage": slots.covered,
        "monosemanticity_score": slots.cosine,
        "unrelated": np.where(np.isnan(slots.apart), np.nan, slots.apart < grouping.UNRELATED),
    }
    return {name: np.where(enough, column, np.nan) for name, column in scores.items()}


def _count_fields(table: SenseTable, units: int) -> np.ndarray:
    """How many broad senses of each unit have a sure one among theirs."""
    pairs = np.unique(np.stack([table.neuron, table.broad], 1)[table.sure], axis=0)
    return np.bincount(pairs[:, 0], minlength=units)


def _most(values: np.ndarray, neuron: np.ndarray, units: int) -> np.ndarray:
    most = np.zeros(units)
    np.maximum.at(most, neuron, values)
    return most


def _make_table(
    evidence: Evidence,
    material: Material,
    slots: _Slots,
    held: np.ndarray,
    owner: np.ndarray,
    fires: np.ndarray | None,
) -> SenseTable:
    """held: (M,) the slots that hold a sense."""
    neuron = evidence.neuron[held]
    first, medoid = evidence.offsets[neuron], slots.medoid[held]
    auprc, baseline = _predictions(evidence, material, owner, neuron, fires)
    replication = predict_replication(
        share=slots.share[held] * slots.covered[neuron],
        size=slots.size[held],
        within=slots.within[held],
        words=slots.words[held],
    )
    return SenseTable(
        neuron=neuron,
        sense=(held - first).astype(np.int32),
        share=slots.share[held],
        size=slots.size[held],
        replication=replication,
        sure=replication >= SURE,
        broad=slots.broad[held],
        within=slots.within[held],
        between=slots.between[held],
        medoid=np.where(medoid == NONE, NONE, evidence.context[first + medoid.clip(0)]),
        **_activations(evidence, owner, len(held)),
        lexical_diversity=_diversity(evidence, owner, slots.size[held]),
        auprc=auprc,
        auprc_baseline=baseline,
    )


def _owners(evidence: Evidence, slots: _Slots, held: np.ndarray) -> np.ndarray:
    """The row in the table of each context's sense, (C,) int64, or NONE."""
    rows = np.full(len(slots.size), NONE, np.int64)
    rows[held] = np.arange(len(held))
    slot = np.repeat(evidence.offsets[:-1], evidence.sizes) + slots.sense
    return np.where(slots.sense >= 0, rows[slot.clip(0)], NONE) if len(slot) else slot


def _activations(evidence: Evidence, owner: np.ndarray, senses: int) -> dict[str, np.ndarray]:
    """Smallest, median and largest activation of each sense, as sizes."""
    use = np.flatnonzero(owner >= 0)
    order = use[np.lexsort((evidence.mass[use], owner[use]))]
    mass, edges = evidence.mass[order], np.searchsorted(owner[order], np.arange(senses + 1))
    first, end = edges[:-1], edges[1:]
    middle = (mass[(first + end - 1) // 2] + mass[(first + end) // 2]) / 2 if senses else mass
    return {
        "activation_min": mass[first],
        "activation_median": middle,
        "activation_max": mass[end - 1],
    }


def _diversity(evidence: Evidence, owner: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Different peak tokens of each sense by its contexts."""
    use = owner >= 0
    pairs = np.unique(owner[use] << 32 | evidence.token[use].astype(np.int64))
    return np.bincount(pairs >> 32, minlength=len(sizes)) / np.maximum(sizes, 1)


def _predictions(
    evidence: Evidence,
    material: Material,
    owner: np.ndarray,
    neuron: np.ndarray,
    fires: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each sense: average precision on the random tokens, and what chance gives."""
    found, chance = np.full((2, len(neuron)), np.nan)
    if fires is None or not len(neuron):
        return found, chance
    fires_of, centres = (
        np.ascontiguousarray(fires.T),
        material.centres(evidence, owner, len(neuron)),
    )
    for first in range(0, len(neuron), _SENSES):
        part = slice(first, first + _SENSES)
        similarity = centres[part] @ material.random.T
        average_precision(similarity, fires_of, neuron[part], found[part])
    firing, known = (fires == 1).sum(0), (fires >= 0).sum(0)
    chance[:] = (firing / np.maximum(known, 1))[neuron]
    few = firing[neuron] < FEWEST_FIRINGS
    found[few] = chance[few] = np.nan
    return found, chance
