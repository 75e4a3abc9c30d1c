"""Neurons whose activations are not finite: which ones lose themselves alone, and which all that
comes after them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from polyseme.contract.errors import NonFiniteActivation
from polyseme.contract.files.column import NOT_FINITE
from polyseme.contract.records.selection import format_ranges
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.nonfinite import explain_nonfinite
from polyseme.workers.analysis.reports.result_files import read_scalars
from polyseme.workers.analysis.steps.analysis import Analysis, scalars_file


def refuse_poisoned(
    analysis: Analysis,
    model: LoadedModel,
    nonfinite: Mapping[int, np.ndarray],
    residual_is_finite: bool,
) -> None:
    """Raises NonFiniteActivation where what began in a few neurons went on through the residual
    stream: a whole layer is lost, or the vectors that senses are made of.

    nonfinite: by scanned layer, (N,) bool of the selected neurons.
    """
    units = analysis.card.site(analysis.site.name).units
    lost = [n for n, found in nonfinite.items() if len(found) == units and found.all()]
    if not lost and residual_is_finite:
        return
    begun = [layer for layer, found in nonfinite.items() if found.any()]
    where = "before the layers that ran"
    if begun:
        where = f"in {_name_neurons(analysis, begun[0], nonfinite[begun[0]])}"
    raise NonFiniteActivation(
        f"activations are not finite: it begins {where}. {_consequence(analysis, lost)} "
        f"{explain_nonfinite(model)}"
    )


def _consequence(analysis: Analysis, lost: list[int]) -> str:
    if lost and lost[0] > min(analysis.scanned):
        return (
            f"From layer {lost[0]} on every neuron is lost by it; the layers before can be "
            f"analysed with neurons.layers."
        )
    if lost:
        return f"Every neuron of layer {lost[0]} is lost."
    layers = format_ranges(reference_layers(analysis.card.layers))
    return (
        f"What enters layers {layers}, which senses are made of, is lost by it; with senses "
        f"switched off the other neurons can be analysed."
    )


def warn_of_nonfinite(analysis: Analysis, model: LoadedModel) -> list[str]:
    """Sentences for the summary: which neurons are lost, and why."""
    found = []
    for layer in analysis.layers:
        scalars = read_scalars(analysis.store, scalars_file(analysis, layer))
        lost = pc.equal(scalars.column("status"), NOT_FINITE).to_numpy()
        if lost.any():
            found.append(
                f"{_name_neurons(analysis, layer, lost)}: their activations are not finite, and "
                f"nothing is known of them."
            )
    return [*found, explain_nonfinite(model)] if found else []


def _name_neurons(analysis: Analysis, layer: int, lost: np.ndarray) -> str:
    """lost: (N,) bool of the selected neurons."""
    numbers = np.array(analysis.neurons)[lost].tolist()
    if lost.all() and len(numbers) > 1:
        return f"layer {layer}, all {len(numbers)} neurons"
    return f"layer {layer}, neuron{'s' * (len(numbers) > 1)} {format_ranges(numbers)}"
