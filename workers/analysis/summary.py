"""A result at a glance: neurons by layer and status, and how their numbers are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from contract.results import STATUSES
from workers.analysis.plan import Plan

_BUCKETS = 20
_DISTRIBUTIONS = ("density", "skewness", "kurtosis", "max", "peak_token_share")


def summarise(neurons: pa.Table, plan: Plan) -> dict[str, Any]:
    """Counts and distributions over the scalars of a result. Dead neurons, never above 0, are in every denominator."""
    layers = neurons.column("layer").to_numpy()
    status = neurons.column("status").to_numpy(zero_copy_only=False)
    dead = neurons.column("density").to_numpy() == 0
    return {
        "object": "summary",
        "neurons": len(layers),
        "tokens": plan.tokens,
        "counted_tokens": plan.counted_tokens,
        "windows": plan.windows,
        "documents": plan.documents,
        "statuses": _count(status),
        "dead": int(dead.sum()),
        "layers": [
            {
                "layer": int(layer),
                "neurons": int((layers == layer).sum()),
                "statuses": _count(status[layers == layer]),
                "dead": int(dead[layers == layer].sum()),
            }
            for layer in np.unique(layers)
        ],
        "distributions": {name: _distribution(neurons.column(name)) for name in _DISTRIBUTIONS},
    }


def _count(status: np.ndarray) -> dict[str, int]:
    return {name: int((status == name).sum()) for name in STATUSES}


def _distribution(column: pa.ChunkedArray) -> dict[str, Any]:
    """Equal-width buckets between the 1st and 99th percentile; what lies beyond is in the outer ones."""
    values = column.drop_null().to_numpy().astype(np.float64)
    if not len(values):
        return {"edges": [], "counts": [], "median": None}
    low, high = np.quantile(values, [0.01, 0.99])
    if low == high:
        high = low + 1.0
    counts, edges = np.histogram(values.clip(low, high), _BUCKETS, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist(), "median": float(np.median(values))}
