"""MLP neurons: the input of the MLP's output projection."""

from __future__ import annotations

import torch
from torch import Tensor

from polyseme.workers.analysis.families.architectures import Family, count_neurons
from polyseme.workers.analysis.families.parts import Parts, matrix_rows, scaled
from polyseme.workers.analysis.sites.site import Point, Site


def _is_signed(family: Family) -> bool:
    return family.gated


def _point(parts: Parts, layer: int) -> Point:
    return Point(parts.projections[layer], "input")


def _directions(parts: Parts, layer: int) -> Tensor:
    """The columns of the output projection, times the weight of a norm behind it and the factor by
    which they join the residual stream.
    """
    directions = matrix_rows(parts.projections[layer]).T.float() * parts.residual_factor
    return scaled(directions, parts.post_norms[layer], parts.family.norm_kind)


def _input_energy(parts: Parts, layer: int) -> Tensor:
    """Summed over a neuron's gate and up side.

    With x the MLP's input, sum_d x_d y_d energy[j, d] is the inner product of two tokens' x * w
    side by side for neuron j's gate and up weights w. Source: Foote 2024.
    """
    squares = torch.cat([matrix_rows(m).float() ** 2 for m in parts.inputs[layer]])
    sides = 2 if parts.family.gated else 1
    return squares.unflatten(0, (sides, -1)).sum(0)


SITE = Site(
    name="mlp",
    hook="blocks.{layer}.mlp.hook_post",
    units=count_neurons,
    signed=_is_signed,
    point=_point,
    directions=_directions,
    input_energy=_input_energy,
)
