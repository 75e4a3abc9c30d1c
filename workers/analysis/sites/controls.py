"""Control units: units of no meaning, measured like a layer's own, for these to be compared with.

How many a layer has, and what chance draws them by. Always the same ones for a layer of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites.point import Point

SEED = 21
FEWEST = 64  # of a layer: a unit beyond all of them has a chance of 1 in 65
TOGETHER = 512  # of all layers of a model, at least

Controls = Callable[[Tensor], Tensor]  # what they are made from, (B, S, D), to (B, S, G)


@dataclass(frozen=True)
class Recipe:
    """How a site's control units are made."""

    name: str  # in manifests
    make: Callable[[Parts, int, int], Controls]  # of a layer: so many of them
    reads: Callable[[Parts, int], Point] | None = None  # None: what the site's own point gives
    as_sparse: bool = False  # they are cut off, to be as seldom active as the site's units


@dataclass(frozen=True, eq=False)
class Directions:
    """Units that are each a direction of what stands at a point."""

    rows: Tensor  # (G, D)

    def __call__(self, hidden: Tensor) -> Tensor:
        """(B, S, D) to activations (B, S, G)."""
        return functional.linear(hidden, self.rows)


@dataclass(frozen=True, eq=False)
class CutOff:
    """Control units of which counts what is above a value."""

    whole: Controls
    cuts: Tensor  # (G,)

    def __call__(self, hidden: Tensor) -> Tensor:
        return (self.whole(hidden) - self.cuts).relu()


def draw_directions(layer: int, count: int, width: int, heads: int = 1) -> np.ndarray:
    """Directions of chance of length 1, (count, width) float32: uniform on the sphere, each within
    one head, of which `width` has so many side by side.
    """
    size, directions = width // heads, np.zeros((count, width), np.float32)
    for number, row in enumerate(directions):
        draw = np.random.default_rng([SEED, layer, number])
        head = int(draw.integers(heads))
        direction = draw.standard_normal(size)
        row[head * size : (head + 1) * size] = direction / np.linalg.norm(direction)
    return directions


def count_controls(layers: int) -> int:
    """The control units of each layer of a model with so many layers.

    Not of those that a job asks for: a layer's result is to be the same whichever others are.
    """
    return max(FEWEST, math.ceil(TOGETHER / layers))


def draw_units(layer: int, usable: np.ndarray, count: int) -> np.ndarray:
    """Which unit of the layer each control unit is made of, (count,) int64: all different until
    there are no more, then all once again.

    usable: (N,) bool, the units to draw from; where there is none, all of them. A drawn one that is
    of no use is replaced, and no other one changes.
    """
    order = np.random.default_rng([SEED, layer]).permutation(len(usable))
    drawn = np.resize(order, count)
    useless = ~usable[drawn]
    if usable.any():
        last_first = order[::-1]
        drawn[useless] = np.resize(last_first[usable[last_first]], useless.sum())
    return drawn


def draw_orders(layer: int, count: int, width: int, side: int) -> np.ndarray:
    """A permutation of `width` numbers for each control unit, (count, width) int64.

    side: of a unit with several rows of weights, which of them.
    """
    orders = [
        np.random.default_rng([SEED, layer, side, control]).permutation(width)
        for control in range(count)
    ]
    return np.stack(orders)
