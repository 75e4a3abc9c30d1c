"""MLP neurons: the input of the MLP's output projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts, matrix_rows, scaled
from polyseme.workers.analysis.sites.controls import Controls, Recipe, draw_orders, draw_units
from polyseme.workers.analysis.sites.point import Point
from polyseme.workers.analysis.sites.site import Site


def _hook(family: Family) -> str:
    return "blocks.{layer}.mlp.hook_post"


def _count_units(parts: Parts) -> int:
    return int(matrix_rows(parts.projections[0]).shape[1])


def _is_signed(family: Family) -> bool:
    return family.gated


def _point(parts: Parts, layer: int) -> Point:
    return Point(parts.projections[layer], "input")


def input_point(parts: Parts, layer: int) -> Point:
    """What the MLP's input projections multiply."""
    return Point(parts.inputs[layer][0], "input")


def _directions(parts: Parts, layer: int) -> Tensor:
    """The columns of the output projection, times the weight of a norm behind it and the factor by
    which they join the residual stream.
    """
    directions = matrix_rows(parts.projections[layer]).T.float() * parts.residual_factor
    return scaled(directions, parts.post_norms[layer], parts.family.norm_kind)


@dataclass(frozen=True, eq=False)
class Rows:
    """The input side of some units of a layer, by which their activations are computed."""

    weights: tuple[Tensor, ...]  # (N, D) each: the gate and the up rows, or the only ones
    biases: tuple[Tensor | None, ...]  # (N,) of each
    activation: Callable[[Tensor], Tensor]

    @classmethod
    def of_layer(cls, parts: Parts, layer: int) -> Rows:
        """Of all its units, without a copy."""
        modules: tuple[Any, ...] = parts.inputs[layer]
        held = (2 if parts.family.gated else 1) // len(modules)  # sides that a module holds
        weights = [side for m in modules for side in matrix_rows(m).detach().chunk(held)]
        biases = [
            side
            for m in modules
            for side in ([None] * held if m.bias is None else m.bias.detach().chunk(held))
        ]
        return cls(tuple(weights), tuple(biases), parts.activations[layer])

    def __call__(self, hidden: Tensor) -> Tensor:
        """The MLP's input, (B, S, D), to activations (B, S, N), as the model computes them."""
        sides = [
            functional.linear(hidden, weight, bias)
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        activated = self.activation(sides[0])
        return activated * sides[1] if len(sides) == 2 else activated

    def find_finite(self) -> np.ndarray:
        """Whether all of a unit's numbers are, (N,) bool."""
        finite = torch.stack([weight.isfinite().all(1) for weight in self.weights])
        of_biases = [bias.isfinite() for bias in self.biases if bias is not None]
        found: np.ndarray = torch.stack([*finite, *of_biases]).all(0).cpu().numpy()
        return found

    def shuffled(self, units: np.ndarray, orders: Sequence[np.ndarray]) -> Rows:
        """Of some units, their weights in other orders. units: (G,); orders: (G, D) of each
        side.
        """
        device = self.weights[0].device
        chosen = torch.from_numpy(units).to(device)
        weights = [
            weight[chosen].gather(1, torch.from_numpy(order).to(device))
            for weight, order in zip(self.weights, orders, strict=True)
        ]
        biases = [None if bias is None else bias[chosen] for bias in self.biases]
        return Rows(tuple(weights), tuple(biases), self.activation)


def _controls(parts: Parts, layer: int, count: int) -> Controls:
    """Units of the layer whose weights, of each row by itself, are put in another order: as strong
    as they were, in a direction of chance. Their biases stay.
    """
    rows = Rows.of_layer(parts, layer)
    units = draw_units(layer, rows.find_finite(), count)
    width = rows.weights[0].shape[1]
    orders = [draw_orders(layer, count, width, side) for side in range(len(rows.weights))]
    return rows.shuffled(units, orders)


SITE = Site(
    name="mlp",
    hook=_hook,
    units=_count_units,
    signed=_is_signed,
    point=_point,
    directions=_directions,
    controls=Recipe("permuted input rows", _controls, reads=input_point),
)
