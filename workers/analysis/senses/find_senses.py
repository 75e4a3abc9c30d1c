"""Senses: what a neuron's contexts have in common, in how many groups, and how sure that is.
docs/measures.md explains.

Knows contexts and vectors, not files or models. One tail of one layer's neurons at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polyseme.contract.files.results import COHERENT_COVERAGE, EVIDENCE_CONTEXTS, SMALLEST_SENSE
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.machine.stopping import Stop, never, until
from polyseme.workers.analysis.senses import clustering
from polyseme.workers.analysis.senses.clustering import NONE
from polyseme.workers.analysis.senses.records import Evidence, SenseTable, TailSenses, Tree
from polyseme.workers.analysis.senses.spaces import Space

DEFAULT_ALPHA = (
    Senses().alpha
)  # for which the limits of `clustering` hold; another alpha moves them all
DRAWS = 200  # resamples of the bootstrap
FEWEST_FIRINGS = 5  # random tokens a neuron must fire on before a prediction of it means anything

_FLOATS = 1 << 24  # of distances in memory at once
_SENSES = 1 << 13  # whose similarities with all random tokens are in memory at once


def find_senses(
    evidence: Evidence,
    space: Space,
    fires: np.ndarray | None,
    options: Senses,
    seeds: np.ndarray,
    should_stop: Stop = never,
) -> TailSenses:
    """fires: (R, N) int8 for the space's random tokens: 1 fires, 0 does not, -1 left out; None when
    it is not known.

    seeds: (N,) uint64, of the bootstrap. Raises Cancelled.
    """
    slots = _Slots(len(evidence.mass))
    scores = {
        name: np.full(len(seeds), np.nan)
        for name in ("covered", "score", "low", "high", "effective", "similar")
    }
    for part in until(_parts(evidence.offsets), should_stop):
        _group(evidence, space, options, seeds, part, slots, scores)
    _scale_heights(evidence, space, slots)
    held = np.flatnonzero(slots.size)
    owner = _owners(evidence, slots, held)
    table = _make_table(evidence, space, slots, held, owner, fires)
    return TailSenses(
        evidence, slots.sense, slots.tree, _judge(evidence, scores, slots), table, owner
    )


class _Slots:
    """What the kernels fill: a value for each context, or for each sense in its neuron's slots."""

    def __init__(self, contexts: int) -> None:
        self.tree = Tree(
            np.zeros(contexts, np.int16),
            np.zeros(contexts, np.int16),
            np.zeros(contexts, np.float32),
        )
        self.excess = np.zeros(contexts)
        self.sense = np.full(contexts, NONE, np.int32)
        self.doubt = np.zeros(contexts)
        self.share = np.zeros(contexts)
        self.size, self.medoid = np.zeros((2, contexts), np.int32)
        self.cohesion, self.separation = np.full((2, contexts), np.nan, np.float32)


def _parts(offsets: np.ndarray) -> Iterator[slice]:
    """Runs of neurons whose distances fit into memory."""
    first = total = 0
    for j, n in enumerate(np.diff(offsets)):
        if total and total + n * n > _FLOATS:
            yield slice(first, j)
            first, total = j, 0
        total += int(n) * int(n)
    yield slice(first, len(offsets) - 1)


def _group(
    evidence: Evidence,
    space: Space,
    options: Senses,
    seeds: np.ndarray,
    part: slice,
    slots: _Slots,
    scores: dict[str, np.ndarray],
) -> None:
    """Everything that needs a neuron's distances."""
    offsets, sizes = evidence.offsets[part.start : part.stop + 1], evidence.sizes[part]
    spots = np.concatenate([[0], np.cumsum(sizes * sizes)])
    distances = np.empty(spots[-1], np.float32)
    tree, mass = slots.tree, evidence.mass
    token = evidence.token if space.of_words else np.zeros_like(evidence.token)
    weights = space.weights[part] if len(space.weights) else space.weights
    least = np.maximum(options.min_contexts, np.ceil(SMALLEST_SENSE * sizes)).astype(np.int64)
    centre, spread = (
        space.of_neurons(value, part) for value in (lambda s: s.centre, lambda s: s.spread)
    )
    shift = space.of_neurons(lambda s: s.z(options.alpha) - s.z(DEFAULT_ALPHA) + space.raised, part)
    clustering.agglomerate(
        space.vectors, evidence.place, offsets, weights, token, centre, spread, least, shift,
        tree.left, tree.right, slots.excess, distances, spots,
    )  # fmt: skip
    clustering.cut(
        offsets, tree.left, tree.right, slots.excess, shift, least,
        evidence.place, space.uses, token, mass, slots.sense, slots.doubt,
    )  # fmt: skip
    slots.sense[offsets[0] : offsets[-1]][np.repeat(sizes < EVIDENCE_CONTEXTS, sizes)] = NONE
    clustering.describe(
        offsets, spots, distances, mass, slots.sense,
        slots.share, slots.size, slots.cohesion, slots.separation, slots.medoid,
    )  # fmt: skip
    names = ("covered", "score", "low", "high", "effective", "similar")
    clustering.score_neurons(
        offsets,
        spots,
        distances,
        mass,
        slots.sense,
        slots.doubt,
        seeds[part],
        DRAWS,
        *(scores[name][part] for name in names),
    )


def _scale_heights(evidence: Evidence, space: Space, slots: _Slots) -> None:
    """Turns distances into quantiles, and what a merge exceeds its limit by into the alpha that
    would allow it.
    """
    everyone = slice(0, len(evidence.sizes))
    centre, spread, base = (
        np.repeat(space.of_neurons(value, everyone), evidence.sizes)
        for value in (
            lambda s: s.centre,
            lambda s: s.spread,
            lambda s: s.z(DEFAULT_ALPHA) - space.raised,
        )
    )
    slots.tree.height[:] = space.read(centre + spread * (base + slots.excess), evidence.neuron)
    for values in (slots.cohesion, slots.separation):
        values[:] = space.read(values, evidence.neuron)


def _judge(
    evidence: Evidence, scores: dict[str, np.ndarray], slots: _Slots
) -> dict[str, np.ndarray]:
    """The scores with their status; what an incoherent neuron's shares would give is left out."""
    enough = evidence.sizes >= EVIDENCE_CONTEXTS
    count = np.zeros(len(enough), np.int64)
    np.maximum.at(count, evidence.neuron, slots.sense + 1)
    coherent = enough & (np.nan_to_num(scores["covered"]) >= COHERENT_COVERAGE) & (count > 0)
    status = np.where(count > 1, "polysemantic", "monosemantic")
    return {
        "status": np.where(
            coherent, status, np.where(enough, "incoherent", "insufficient_evidence")
        ),
        "polysemanticity": np.where(coherent, scores["score"], np.nan),
        "polysemanticity_low": np.where(coherent, scores["low"], np.nan),
        "polysemanticity_high": np.where(coherent, scores["high"], np.nan),
        "effective_senses": np.where(coherent, scores["effective"], np.nan),
        "sense_count": np.where(enough, count, np.nan),
        "coverage": np.where(enough, scores["covered"], np.nan),
        "monosemanticity_score": np.where(enough, scores["similar"], np.nan),
    }


def _make_table(
    evidence: Evidence,
    space: Space,
    slots: _Slots,
    held: np.ndarray,
    owner: np.ndarray,
    fires: np.ndarray | None,
) -> SenseTable:
    """held: (M,) the slots that hold a sense."""
    neuron = evidence.neuron[held]
    first = evidence.offsets[neuron]
    auprc, baseline = _predictions(evidence, space, owner, neuron, fires)
    return SenseTable(
        neuron=neuron,
        sense=(held - first).astype(np.int32),
        share=slots.share[held],
        size=slots.size[held],
        cohesion=slots.cohesion[held],
        separation=slots.separation[held],
        medoid=evidence.context[first + slots.medoid[held]],
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
    space: Space,
    owner: np.ndarray,
    neuron: np.ndarray,
    fires: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each sense: average precision on the random tokens, and what chance gives."""
    found, chance = np.full((2, len(neuron)), np.nan)
    if fires is None or not len(neuron):
        return found, chance
    fires_of, centres = np.ascontiguousarray(fires.T), space.centres(evidence, owner, len(neuron))
    for first in range(0, len(neuron), _SENSES):
        part = slice(first, first + _SENSES)
        similarity = space.similarity(centres[part], neuron[part])
        clustering.average_precision(similarity, fires_of, neuron[part], found[part])
    firing, known = (fires == 1).sum(0), (fires >= 0).sum(0)
    chance[:] = (firing / np.maximum(known, 1))[neuron]
    few = firing[neuron] < FEWEST_FIRINGS
    found[few] = chance[few] = np.nan
    return found, chance
