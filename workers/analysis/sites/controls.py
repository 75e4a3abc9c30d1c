"""Control units: units of no meaning, measured like a layer's own, for these to be compared with.

How many a layer has, and what chance draws them by. Always the same ones for a layer of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from polyseme.workers.analysis.families.parts import Parts

SEED = 21
FEWEST = 64  # of a layer: a unit beyond all of them has a chance of 1 in 65
TOGETHER = 512  # of all layers of a model, at least

Controls = Callable[[Tensor], Tensor]  # the MLP's input (B, S, D) to activations (B, S, G)


@dataclass(frozen=True)
class Recipe:
    """How a site's control units are made."""

    name: str  # in manifests
    make: Callable[[Parts, int, int], Controls]  # of a layer: so many of them


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
