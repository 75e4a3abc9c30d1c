"""What the analysis must know of a site. Knows no site in particular."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from polyseme.contract.records.model_card import SiteCard
from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites.controls import Recipe


def lay_flat(values: Tensor, batch: int, length: int) -> Tensor:
    """Some architectures flatten the batch before the MLP."""
    return values.reshape(batch, length, -1)


@dataclass(frozen=True, eq=False)
class Point:
    """Where a site is read in one layer: what enters a module, or what leaves it."""

    module: nn.Module
    side: Literal["input", "output"]
    shape: Callable[[Tensor, int, int], Tensor] = lay_flat  # of the tensor there: (B, S, N)


@dataclass(frozen=True)
class Site:
    name: str  # as requests spell it
    hook: str  # TransformerLens' name, with {layer}
    units: Callable[[Any, Family], int]  # of a layer, by a model's config
    signed: Callable[[Family], bool]  # whether negative activations mean something
    point: Callable[[Parts, int], Point]  # of a layer
    # What one unit of each of a layer's units adds to the residual stream, (N, D) float32, before
    # any norm; None when that cannot be said: then there is no logit lens.
    directions: Callable[[Parts, int], Tensor | None]
    # None where there are no control units, and so nothing to compare units with.
    controls: Recipe | None = None

    def points(self, parts: Parts, layers: Iterable[int]) -> dict[int, Point]:
        return {layer: self.point(parts, layer) for layer in layers}

    def card(self, config: Any, family: Family) -> SiteCard:
        """What clients are told of it."""
        units = self.units(config, family)
        return SiteCard(self.name, units, self.hook, self.signed(family))
