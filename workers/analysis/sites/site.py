"""What the analysis must know of a site. Knows no site in particular."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from polyseme.contract.records.model_card import SiteCard
from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites.controls import Recipe
from polyseme.workers.analysis.sites.point import Point


def exists(parts: Parts) -> None:
    """Nothing is in the way."""
    return


def one_a_unit(parts: Parts) -> int | None:
    """No heads."""
    return None


@dataclass(frozen=True)
class Site:
    """`units`, `why_not` and `head_size` are asked of a model without weights, too."""

    name: str  # as requests spell it
    hook: Callable[[Family], str]  # TransformerLens' name, with {layer}
    units: Callable[[Parts], int]  # of a layer
    signed: Callable[[Family], bool]  # whether negative activations mean something
    point: Callable[[Parts, int], Point]  # of a layer
    # What one unit of each of a layer's units adds to the residual stream, (N, D) float32, before
    # any norm; None when that cannot be said: then there is no logit lens.
    directions: Callable[[Parts, int], Tensor | None]
    # None where there are no control units, and so nothing to compare units with.
    controls: Recipe | None = None
    why_not: Callable[[Parts], str | None] = exists  # a sentence's end, where a model has none
    head_size: Callable[[Parts], int | None] = one_a_unit  # units that lie side by side in a head
    sparse: bool = False  # nearly all activations are 0, and none is below
    sha256: str = ""  # of what its units are made of beyond the model's weights; "" of nothing

    def points(self, parts: Parts, layers: Iterable[int]) -> dict[int, Point]:
        return {layer: self.point(parts, layer) for layer in layers}

    def control_points(self, parts: Parts, layers: Iterable[int]) -> dict[int, Point]:
        """What the control units are computed from."""
        read = self.point
        if self.controls is not None and self.controls.reads is not None:
            read = self.controls.reads
        return {layer: read(parts, layer) for layer in layers}

    def card(self, parts: Parts) -> SiteCard:
        """What clients are told of it. parts: may be without weights."""
        hook, signed = self.hook(parts.family), self.signed(parts.family)
        if reason := self.why_not(parts):
            return SiteCard(self.name, 0, hook, signed, why_not=reason)
        return SiteCard(self.name, self.units(parts), hook, signed, head_size=self.head_size(parts))
