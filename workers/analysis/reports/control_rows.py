"""A layer's control units as rows: the columns that they share with neurons."""

from __future__ import annotations

import pyarrow as pa

from polyseme.contract.files.results import GHOST_SCALARS
from polyseme.workers.analysis.reports.columns import LayerResult, layer_scalars


def control_scalars(result: LayerResult) -> pa.Table:
    """One row a control unit, in the schema GHOST_SCALARS. result: of the control units alone."""
    scalars = layer_scalars(result)
    columns = [scalars.column(_OF_CONTROLS.get(f.name, f.name)) for f in GHOST_SCALARS]
    return pa.table(columns, schema=GHOST_SCALARS)


_OF_CONTROLS = {"ghost": "neuron"}
