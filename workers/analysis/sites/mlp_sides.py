"""What enters an MLP, and what leaves it: dimensions of the residual stream as units."""

from __future__ import annotations

from torch import Tensor

from polyseme.workers.analysis.families.parts import Parts, scaled
from polyseme.workers.analysis.sites.mlp import input_point
from polyseme.workers.analysis.sites.point import Point, scaled_by
from polyseme.workers.analysis.sites.residual import dimension_site, own_dimensions


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


# Not hook_mlp_in, which in TransformerLens is what enters the norm before.
IN = dimension_site("mlp_in", "blocks.{layer}.mlp.hook_in", input_point, directions=_writes_nothing)
OUT = dimension_site("mlp_out", "blocks.{layer}.hook_mlp_out", _leave_mlp)
# Before a norm behind the MLP, and before a factor by which it joins the residual stream.
OUT_RAW = dimension_site(
    "mlp_out_raw",
    "blocks.{layer}.mlp.hook_out",
    _leave_projection,
    directions=_raw_directions,
)
