"""The residual stream before, within and after a block: its dimensions as units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts, matrix_rows, weight_of
from polyseme.workers.analysis.sites.controls import Controls, Directions, Recipe, draw_directions
from polyseme.workers.analysis.sites.point import Point
from polyseme.workers.analysis.sites.site import Site, enter_block


def width_of(parts: Parts) -> int:
    """Of the residual stream."""
    return int(matrix_rows(parts.projections[0]).shape[0])


def always(family: Family) -> bool:
    return True


def own_dimensions(parts: Parts, layer: int) -> Tensor:
    """Each unit is a dimension of the residual stream: (D, D)."""
    return torch.eye(width_of(parts), device=weight_of(parts.projections[layer]).device)


def _make_controls(parts: Parts, layer: int, count: int) -> Controls:
    rows = torch.from_numpy(draw_directions(layer, count, width_of(parts)))
    return Directions(rows.to(weight_of(parts.projections[layer])))


# In the residual stream, directions of chance: a dimension is one of many.
RANDOM_DIRECTIONS = Recipe("random directions", _make_controls)


def dimension_site(
    name: str,
    hook: str,
    point: Callable[[Parts, int], Point],
    *,
    directions: Callable[[Parts, int], Tensor | None] = own_dimensions,
) -> Site:
    """A site whose units are dimensions of a stream as wide as the residual one."""
    return Site(
        name=name,
        hook=lambda family: hook,
        units=width_of,
        signed=always,
        point=point,
        directions=directions,
        controls=RANDOM_DIRECTIONS,
    )


def _hook_post(family: Family) -> str:
    made = "normalized_resid_post" if family.norms_after else "resid_post"
    return f"blocks.{{layer}}.hook_{made}"


def _leave_block(parts: Parts, layer: int) -> Point:
    return Point(parts.blocks[layer], "output")


def _enter_middle(parts: Parts, layer: int) -> Point:
    return Point(parts.middles[layer], "input")


def _has_no_middle(parts: Parts) -> str | None:
    if parts.family.parallel:
        return "its blocks are parallel: attention and MLP read the same residual stream"
    if parts.family.norms_after:
        return "its norms stand behind the sums: what enters the MLP is mlp_in"
    return None


PRE = dimension_site("resid_pre", "blocks.{layer}.hook_resid_pre", enter_block)
MID = replace(
    dimension_site("resid_mid", "blocks.{layer}.hook_resid_mid", _enter_middle),
    why_not=_has_no_middle,
)
# What leaves the block is its own stream: a sink of this layer is one in it.
POST = replace(dimension_site("resid_post", "", _leave_block), hook=_hook_post, stream=_leave_block)
