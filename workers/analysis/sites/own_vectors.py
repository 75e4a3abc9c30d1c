"""Directions that a job brings: units made of what stands at another site, of one layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from polyseme.contract.errors import AnalysisError
from polyseme.contract.files.vector_sets import Numbers
from polyseme.contract.records.vector_set import SITE, VectorSet
from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites.controls import Controls, Recipe
from polyseme.workers.analysis.sites.residual import always
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES


@dataclass(frozen=True, eq=False)
class Projection:
    """Unit j is x . v_j + b_j, in float32."""

    vectors: Tensor  # (K, W) float32
    bias: Tensor | None  # (K,)
    _moved: dict[torch.device, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def __call__(self, values: Tensor) -> Tensor:
        """What stands at the site, (B, S, W), to activations (B, S, K)."""
        vectors, bias = self.on(values.device)
        return functional.linear(values.float(), vectors, bias)

    def on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        if device not in self._moved:
            bias = None if self.bias is None else self.bias.to(device)
            self._moved[device] = self.vectors.to(device), bias
        return self._moved[device]

    @property
    def lengths(self) -> Tensor:
        return torch.linalg.vector_norm(self.vectors, dim=1)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Control units as long as the vectors, and with their biases: number g as vector g % K."""

    controls: Controls
    lengths: Tensor  # (G,)
    bias: Tensor | None  # (G,)

    def __call__(self, hidden: Tensor) -> Tensor:
        values = self.controls(hidden).float() * self.lengths
        return values if self.bias is None else values + self.bias


def make_site(of: Site, projection: Projection, sha256: str) -> Site:
    """of: the site that the directions are of; sha256: of all that decides the units.

    Where each is a unit of that site, its units are those, and its control units theirs.
    """
    return Site(
        name=SITE,
        hook=of.hook,
        units=lambda parts: len(projection.vectors),
        signed=always,
        point=lambda parts, layer: of.point(parts, layer).then(projection),
        directions=_carry(of, projection),
        controls=None if of.controls is None else _scale(of, of.controls, projection),
        why_not=of.why_not,
        stream=of.stream,
        sha256=sha256,
    )


def site_of_set(vectors: VectorSet, numbers: Numbers, parts: Parts) -> Site:
    """Of uploaded directions. Raises AnalysisError where they do not fit the model."""
    rows = _read(numbers.vectors).reshape(vectors.count, vectors.width)
    projection = Projection(rows, None if numbers.bias is None else _read(numbers.bias))
    of = SITES[vectors.site]
    check_fits(of, projection, parts)
    return make_site(of, projection, vectors.units_sha256)


def _read(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.float32)


def check_fits(of: Site, projection: Projection, parts: Parts) -> None:
    """Raises AnalysisError where the model is not that which the directions are of."""
    width = projection.vectors.shape[1]
    if of.why_not(parts) or of.units(parts) != width:
        raise AnalysisError(
            f"the vectors have {width} numbers each, and {of.name} of this model "
            f"{0 if of.why_not(parts) else of.units(parts)}: it has changed since they were "
            f"uploaded"
        )


def _carry(of: Site, projection: Projection) -> Callable[[Parts, int], Tensor | None]:
    """What a vector writes to the residual stream: what units of the site do, as much of each."""

    def directions(parts: Parts, layer: int) -> Tensor | None:
        written = of.directions(parts, layer)
        return None if written is None else projection.on(written.device)[0] @ written

    return directions


def _scale(of: Site, recipe: Recipe, projection: Projection) -> Recipe:
    def make(parts: Parts, layer: int, count: int) -> Controls:
        controls = recipe.make(parts, layer, count)
        device = next(parts.body.parameters()).device
        vectors, bias = projection.on(device)
        alike = torch.arange(count, device=device) % len(vectors)
        own = None if bias is None else bias[alike]
        return _Scaled(controls, projection.lengths.to(device)[alike], own)

    return Recipe(f"{recipe.name}, as long as the vectors", make, recipe.reads or of.point)
