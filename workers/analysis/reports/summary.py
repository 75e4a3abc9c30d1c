"""A result at a glance: neurons by layer and status, and how their numbers are distributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.files.column import CLAIMING, STATUSES
from polyseme.contract.files.results import GHOST_SCALARS
from polyseme.contract.records.selection import format_ranges
from polyseme.workers.analysis.reports.dictionaries import Described, summarise_dictionary
from polyseme.workers.analysis.sentences.phrases import START_OF_TEXT

_BUCKETS = 20
_NEARLY_ALL = 0.9  # of the neurons of a layer
_EXAMPLES = 5
_NO_CONTROLS = GHOST_SCALARS.empty_table()
_OF_MEANING = ("polysemanticity", "coverage", "effective_senses")
_DISTRIBUTIONS = (
    "polysemanticity",
    "effective_senses",
    "coverage",
    "monosemanticity_score",
    "density",
    "skewness",
    "kurtosis",
    "max",
    "peak_token_share",
)


def summarise(
    neurons: pa.Table,
    plan: Mapping[str, Any],
    warnings: Sequence[str] = (),
    controls: pa.Table = _NO_CONTROLS,
    dictionaries: Sequence[Described] = (),
) -> dict[str, Any]:
    """Counts and distributions over the scalars of a result.

    Dead neurons, never above 0, are in every denominator.

    plan: at least the fields of `Plan` that are returned; warnings: sentences for whoever reads the
    result; controls: the scalars of the control units; dictionaries: as the manifest has them.
    """
    layers = neurons.column("layer").to_numpy()
    status = neurons.column("status").to_numpy(zero_copy_only=False)
    dead = neurons.column("density").to_numpy() == 0
    of_layers = {described["layer"]: described for described in dictionaries}
    return {
        "object": "summary",
        "neurons": len(layers),
        **{name: plan[name] for name in ("tokens", "counted_tokens", "windows", "documents")},
        "statuses": _count(status),
        "senses": _count_senses(neurons),
        "dead": int(dead.sum()),
        "warnings": list(warnings),
        "notes": list(_note_starts(neurons)),
        "examples": _choose_examples(neurons),
        "layers": [
            {
                "layer": int(layer),
                "neurons": int((layers == layer).sum()),
                "statuses": _count(status[layers == layer]),
                "dead": int(dead[layers == layer].sum()),
                "controls": _controls(controls.filter(pc.equal(controls.column("layer"), layer))),
                **_dictionary(of_layers.get(int(layer)), neurons, int(layer)),
            }
            for layer in np.unique(layers)
        ],
        "controls": _controls(controls),
        "distributions": {name: _distribution(neurons.column(name)) for name in _DISTRIBUTIONS},
    }


def _dictionary(described: Described | None, latents: pa.Table, layer: int) -> dict[str, Any]:
    """Nothing of other units."""
    if described is None:
        return {}
    own = latents.filter(pc.equal(latents.column("layer"), layer))
    return {"dictionary": summarise_dictionary(described, own)}


def _choose_examples(neurons: pa.Table) -> list[dict[str, Any]]:
    """The most selective of those of which something is claimed, with their sentences."""
    claimed = neurons.filter(pc.is_in(neurons.column("status"), pa.array(CLAIMING)))
    order = [("selectivity", "descending"), ("layer", "ascending"), ("neuron", "ascending")]
    best = claimed.sort_by(order).slice(0, _EXAMPLES)
    return best.select(["layer", "neuron", "status", "selectivity", "meaning"]).to_pylist()


def _note_starts(neurons: pa.Table) -> Iterator[str]:
    """Says once of all layers what the sentences of nearly all of their neurons say."""
    meaning = neurons.column("meaning")
    said = pc.fill_null(pc.match_substring(meaning, START_OF_TEXT), False)
    layers, known = neurons.column("layer"), pc.is_valid(meaning)
    found = []
    for layer in pc.unique(layers).to_pylist():
        here = pc.and_(pc.equal(layers, layer), known)
        share = pc.mean(said.filter(here)).as_py()
        if share is not None and share >= _NEARLY_ALL:
            found.append(layer)
    if found:
        which = f"layer{'s' * (len(found) > 1)} {format_ranges(found)}"
        yield (
            f"Nearly all neurons of {which} fire for {START_OF_TEXT}, whatever it is: a model's "
            "first token is unlike all others. tokens.exclude_positions 1 leaves it out."
        )


def _count(status: np.ndarray) -> dict[str, int]:
    return {name: int((status == name).sum()) for name in STATUSES}


def _controls(controls: pa.Table) -> dict[str, Any]:
    """What chance gives of the numbers about meaning. A control unit is judged by the other half of
    its layer's.
    """
    status = controls.column("status").to_numpy(zero_copy_only=False)
    columns = {name: controls.column(name).drop_null().to_numpy() for name in _OF_MEANING}
    return {
        "units": len(controls),
        "statuses": _count(status),
        "medians": {n: float(np.median(v)) if len(v) else None for n, v in columns.items()},
    }


def _count_senses(neurons: pa.Table) -> dict[str, int]:
    """Coherent neurons by how many senses they have."""
    coherent = pc.is_in(neurons.column("status"), pa.array(CLAIMING))
    counts = pc.value_counts(neurons.column("sense_count").filter(coherent)).to_pylist()
    return {str(f["values"]): f["counts"] for f in sorted(counts, key=lambda f: f["values"])}


def _distribution(column: pa.ChunkedArray) -> dict[str, Any]:
    """Equal-width buckets between the 1st and 99th percentile; what lies beyond is in the outer
    ones.
    """
    values = column.drop_null().to_numpy().astype(np.float64)
    if not len(values):
        return {"edges": [], "counts": [], "median": None}
    low, high = np.quantile(values, [0.01, 0.99])
    if low == high:
        high = low + 1.0
    counts, edges = np.histogram(values.clip(low, high), _BUCKETS, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist(), "median": float(np.median(values))}
