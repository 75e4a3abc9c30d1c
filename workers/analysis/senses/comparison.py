"""What a unit is beside its layer's control units: how selective it is, and how many of them it
exceeds. docs/measures.md explains.

Knows arrays, not files or models. A layer's N units come first, its G control units behind them. A
control unit is compared with those of the other half, by even and odd numbers, so that what is said
of control units is said as it is of units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from polyseme.contract.files.results import BINS, CLAIMED, ZERO_BIN, histogram_edges
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.senses.firing import FIRES
from polyseme.workers.analysis.senses.layer_senses import LayerSenses
from polyseme.workers.analysis.senses.records import Evidence, TailSenses
from polyseme.workers.analysis.senses.sense_tokens import SenseTokens
from polyseme.workers.analysis.senses.status import decide_status

_MAD = 1.4826  # by which a normal distribution's median absolute deviation is its deviation
_FEWEST_TOKENS = 0.5  # a unit that fires nowhere in the histogram fires on half a token

ClaimsBy = Literal["selectivity", "coverage"]
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]  # values and control units' values


def measure_parts(statistics: LayerStatistics, tail: Tail) -> np.ndarray:
    """`selectivity_parts` of a tail of a layer's units, (N, 3); NaN for units that are not
    finite.
    """
    moments = statistics.moments.compute()
    counts = statistics.histogram.counts.numpy()
    largest = statistics.high.numpy()
    if tail == "negative":
        counts, largest = counts[:, ::-1], -statistics.low.numpy()
    # Units that are not finite are as if they never fired.
    largest = np.where(statistics.nonfinite.numpy(), 0, largest)
    strength = np.hypot(moments["mean"], moments["std"])
    return selectivity_parts(counts, largest, strength, moments["kurtosis"])


def selectivity_parts(
    counts: np.ndarray, largest: np.ndarray, strength: np.ndarray, kurtosis: np.ndarray
) -> np.ndarray:
    """The three signs of a unit that fires strongly and seldom, as logarithms that rise with it:
    the fourth standardised moment, the largest activation over the root mean square, and the
    inverse of the share of tokens on which it fires. (N, 3) float64; NaN for one that never fires.

    counts: (N, BINS) of its histogram; largest: (N,) activation; strength: (N,) root mean square;
    kurtosis: (N,) excess, NaN for a constant. Of the negative tail: all as if mirrored at 0.
    """
    fires = largest > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.log(largest / strength)
    # A constant's is at its least, as no distribution's is smaller.
    tailed = np.log(np.fmax(np.nan_to_num(kurtosis, nan=-2.0) + 3, 1.0))
    parts = np.stack([tailed, peak, -np.log(_rarity(counts, largest))], axis=1)
    return np.where(fires[:, None], parts, np.nan)


def _rarity(counts: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The share of tokens above a fifth of the largest activation, (N,) in 0..1, above 0; its bin
    is divided linearly.
    """
    edges = np.array(histogram_edges())
    threshold = FIRES * largest.astype(np.float64)
    place = np.searchsorted(edges[ZERO_BIN + 1 :], threshold, "right") + ZERO_BIN
    place = place.clip(ZERO_BIN + 1, BINS - 1)
    low, high = edges[place], np.fmin(edges[place + 1], largest)
    high = np.where(place == BINS - 1, largest, high)  # it has no upper end of its own
    rows = np.arange(len(counts))
    above = counts.sum(1) - np.cumsum(counts, axis=1)[rows, place]
    inside = (high - threshold) / np.where(high > low, high - low, 1.0)
    fired = above + counts[rows, place] * inside.clip(0, 1)
    share: np.ndarray = np.fmax(fired, _FEWEST_TOKENS) / np.maximum(counts.sum(1), 1)
    return share


def find_selectivity(parts: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The mean of the parts, each in deviations above the median control unit, (N,) float64.

    parts: (N, 3), controls: (G, 3), of `selectivity_parts`. A deviation is 1.4826 times the control
    units' median absolute one; where that is 0, as among few, it is 1. NaN where a part is, and
    without control units that have any.
    """
    known = controls[~np.isnan(controls).any(1)]
    if not len(known):
        return np.full(len(parts), np.nan)
    median = np.median(known, axis=0)
    deviation = _MAD * np.median(np.abs(known - median), axis=0)
    scaled = (parts - median) / np.where(deviation > 0, deviation, 1.0)
    selectivity: np.ndarray = scaled.mean(1)
    return selectivity


def share_below(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The share of the control units whose value is lower, and half of those alike, (N,) in 0..1.

    NaN for a value that is, and without control units that have one.
    """
    known = np.sort(controls[~np.isnan(controls)])
    if not len(known):
        return np.full(len(values), np.nan)
    lower, up_to = (np.searchsorted(known, values, side) for side in ("left", "right"))
    return np.where(np.isnan(values), np.nan, (lower + up_to) / (2 * len(known)))


def chance_of(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The chance that a control unit's value is as large, (N,) above 0, up to 1: the conformal p
    value, right for any distribution.

    1 for a value that is NaN. Source: Vovk, Gammerman and Shafer 2005.
    """
    known = np.sort(controls[~np.isnan(controls)])
    as_large = len(known) - np.searchsorted(known, values, "left")
    return np.where(np.isnan(values), 1.0, (1 + as_large) / (1 + len(known)))


def compare_units(compare: Compare, values: np.ndarray, units: int) -> np.ndarray:
    """Units with the control units behind them, and these with each other's half. (N + G,) both."""
    controls = values[units:]
    found = np.empty(len(values))
    found[:units] = compare(values[:units], controls)
    for half in (0, 1):
        found[units + half :: 2] = compare(controls[half::2], controls[1 - half :: 2])
    return found


def compare_with_controls(
    senses: LayerSenses,
    selectivity: Mapping[Tail, np.ndarray],
    units: int,
    claims_by: ClaimsBy = "selectivity",
) -> LayerSenses:
    """With percentiles and the final status of each unit. selectivity: (N + G,) of each tail;
    claims_by: in what a unit is to exceed control units for something to be claimed of it.
    """
    tails = {
        tail: replace(
            found, scores=_add_percentiles(found.scores, selectivity[tail], units, claims_by)
        )
        for tail, found in senses.tails.items()
    }
    return replace(senses, tails=tails)


def _add_percentiles(
    scores: Mapping[str, np.ndarray], selectivity: np.ndarray, units: int, claims_by: ClaimsBy
) -> dict[str, np.ndarray]:
    compared = {"selectivity": selectivity, "coverage": scores["coverage"]}
    percentiles = {
        name: compare_units(share_below, values, units) for name, values in compared.items()
    }
    claimed = compare_units(chance_of, compared[claims_by], units) <= CLAIMED
    return {
        **scores,
        "score_percentile": compare_units(share_below, scores["polysemanticity"], units),
        "coverage_percentile": percentiles["coverage"],
        "selectivity": selectivity,
        "selectivity_percentile": percentiles["selectivity"],
        "standing": percentiles[claims_by],  # on which a claim rests
        "status": decide_status(scores, claimed),
    }


def take_units(senses: LayerSenses, units: slice, contexts: slice) -> LayerSenses:
    """The senses of a run of units alone. contexts: theirs among the layer's."""
    tails = {
        tail: _take_of_tail(found, units, contexts.start) for tail, found in senses.tails.items()
    }
    return replace(senses, tails=tails)


def _take_of_tail(found: TailSenses, units: slice, first_context: int) -> TailSenses:
    offsets = found.evidence.offsets[units.start : units.stop + 1]
    own = slice(offsets[0], offsets[-1])
    first, end = np.searchsorted(found.table.neuron, [units.start, units.stop])
    evidence, table = _cut(found.evidence, own, "offsets"), _cut(found.table, slice(first, end))
    evidence |= {"offsets": offsets - offsets[0], "context": evidence["context"] - first_context}
    table |= {
        "neuron": table["neuron"] - units.start,
        "medoid": np.where(table["medoid"] >= 0, table["medoid"] - first_context, -1),
    }
    owner = found.owner[own]
    return replace(
        found,
        evidence=Evidence(**evidence),
        sense=found.sense[own],
        tree=type(found.tree)(**_cut(found.tree, own)),
        scores={name: values[units] for name, values in found.scores.items()},
        table=type(found.table)(**table),
        owner=np.where(owner >= 0, owner - first, owner),
        tokens=None if found.tokens is None else _take_tokens(found.tokens, slice(first, end)),
    )


def _take_tokens(tokens: SenseTokens, senses: slice) -> SenseTokens:
    offsets = tokens.offsets[senses.start : senses.stop + 1]
    columns = _cut(tokens, slice(offsets[0], offsets[-1]), "offsets")
    return SenseTokens(offsets=offsets - offsets[0], **columns)


def _cut(record: object, rows: slice, *but: str) -> dict[str, Any]:
    """The columns of a record, cut, but for some."""
    return {name: column[rows] for name, column in vars(record).items() if name not in but}
