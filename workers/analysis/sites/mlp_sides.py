"""What enters an MLP, and what leaves it: dimensions of the residual stream as units."""

from __future__ import annotations

from torch import Tensor

from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts, scaled
from polyseme.workers.analysis.sites.mlp import input_point
from polyseme.workers.analysis.sites.point import Point, scaled_by
from polyseme.workers.analysis.sites.residual import (
    RANDOM_DIRECTIONS,
    always,
    own_dimensions,
    width_of,
)
from polyseme.workers.analysis.sites.site import Site


def _hook_in(family: Family) -> str:
    # Not hook_mlp_in, which in TransformerLens is what enters the norm before.
    return "blocks.{layer}.mlp.hook_in"


def _hook_out(family: Family) -> str:
    return "blocks.{layer}.hook_mlp_out"


def _hook_out_raw(family: Family) -> str:
    return "blocks.{layer}.mlp.hook_out"


def _writes_nothing(parts: Parts, layer: int) -> None:
    return


def _leave_mlp(parts: Parts, layer: int) -> Point:
    """As it joins the residual stream."""
    module = parts.post_norms[layer] or parts.projections[layer]
    return Point(module, "output", scaled_by(parts.residual_factor))


def _leave_projection(parts: Parts, layer: int) -> Point:
    return Point(parts.projections[layer], "output")


def _raw_directions(parts: Parts, layer: int) -> Tensor:
    joined = own_dimensions(parts, layer) * parts.residual_factor
    return scaled(joined, parts.post_norms[layer], parts.family.norm_kind)


IN = Site(
    name="mlp_in",
    hook=_hook_in,
    units=width_of,
    signed=always,
    point=input_point,
    directions=_writes_nothing,
    controls=RANDOM_DIRECTIONS,
)
OUT = Site(
    name="mlp_out",
    hook=_hook_out,
    units=width_of,
    signed=always,
    point=_leave_mlp,
    directions=own_dimensions,
    controls=RANDOM_DIRECTIONS,
)
# Before a norm behind the MLP, and before a factor by which it joins the residual stream.
OUT_RAW = Site(
    name="mlp_out_raw",
    hook=_hook_out_raw,
    units=width_of,
    signed=always,
    point=_leave_projection,
    directions=_raw_directions,
    controls=RANDOM_DIRECTIONS,
)
