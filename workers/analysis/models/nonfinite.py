"""Why activations of a model are not finite: weights that are not, or numbers beyond its dtype."""

from __future__ import annotations

import torch

from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.reading import name_some


def explain_nonfinite(model: LoadedModel) -> str:
    """A sentence, which advises another dtype only where one may help. Reads every weight."""
    broken = [
        name
        for name, weight in model.parts.body.named_parameters()
        if not bool(torch.isfinite(weight).all())
    ]
    if broken:
        return (
            f"Weights of the model are not finite themselves, so no dtype helps: "
            f"{name_some(broken)}."
        )
    if model.dtype == torch.float32:
        return "All weights are finite, so what the model computes is beyond float32."
    dtype = str(model.dtype).removeprefix("torch.")
    return f"All weights are finite; the model ran in {dtype}, and in float32 it may work."
