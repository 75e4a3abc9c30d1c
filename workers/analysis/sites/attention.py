"""What attention adds to the residual stream, and its heads' outputs before they are mixed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.families.parts import Parts, matrix_rows, scaled, weight_of
from polyseme.workers.analysis.sites.controls import Controls, Directions, Recipe, draw_directions
from polyseme.workers.analysis.sites.point import Point, scaled_by
from polyseme.workers.analysis.sites.residual import always, dimension_site
from polyseme.workers.analysis.sites.site import Site


def _hook_z(family: Family) -> str:
    return "blocks.{layer}.attn.hook_z"


def _leave_attention(parts: Parts, layer: int) -> Point:
    """As it joins the residual stream."""
    module = parts.attention_norms[layer] or parts.attentions[layer]
    return Point(module, "output", scaled_by(parts.residual_factor))


def _enter_projection(parts: Parts, layer: int) -> Point:
    return Point(parts.attentions[layer], "input")


def _count_z(parts: Parts) -> int:
    """Not the width of the residual stream where heads have a size of their own."""
    return int(matrix_rows(parts.attentions[0]).shape[1])


def _head_size(parts: Parts) -> int:
    config: Any = parts.body.config
    return _count_z(parts) // int(config.num_attention_heads)


def _has_other_heads(parts: Parts) -> str | None:
    # All that stand in the model's layers: linear attention has other heads than attention.
    if len(parts.family.attention) > 1:
        return "some of its layers have linear attention, whose heads are others"
    return None


def _z_directions(parts: Parts, layer: int) -> Tensor:
    directions = matrix_rows(parts.attentions[layer]).T.float() * parts.residual_factor
    return scaled(directions, parts.attention_norms[layer], parts.family.norm_kind)


def _make_controls(parts: Parts, layer: int, count: int) -> Controls:
    width = _count_z(parts)
    rows = draw_directions(layer, count, width, width // _head_size(parts))
    return Directions(torch.from_numpy(rows).to(weight_of(parts.attentions[layer])))


OUT = dimension_site("attn_out", "blocks.{layer}.hook_attn_out", _leave_attention)
# Heads side by side: unit = head * head_size + dimension.
Z = Site(
    name="z",
    hook=_hook_z,
    units=_count_z,
    signed=always,
    point=_enter_projection,
    directions=_z_directions,
    controls=Recipe("random directions of one head", _make_controls),
    why_not=_has_other_heads,
    head_size=_head_size,
)
