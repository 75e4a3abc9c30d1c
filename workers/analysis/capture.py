"""Runs a model over a block of token ids and hands out what goes into its MLP output projections.

Knows modules and hooks; what is done with the activations is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import UnsupportedArchitecture
from workers.analysis.model import LoadedModel

Receive = Callable[[int, Tensor], None]


class _DeepestReached(Exception):
    """Unwinds a forward pass that has nothing left to give."""


def run_block(
    model: LoadedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    layers: Sequence[int],
    receive: Receive,
) -> None:
    """Hands each wanted layer's neurons to `receive(layer, activations)`, ascending, as soon as they are computed.

    input_ids: (B, S); attention_mask: (B, S), 1 at tokens, or None when every token is one. A decoder needs none for
    padding on the right, as no token looks ahead; an encoder does. layers: any order.
    Activations are (B, S, N), valid until `receive` returns, in inference mode. Of the deepest wanted layer only what
    leads to them is run, and nothing behind it. What `receive` raises passes through, and no hook stays behind.
    """
    wanted = sorted(set(layers))
    if not wanted:
        return
    seen: list[int] = []

    def take(layer: int, activations: Tensor) -> None:
        # Some architectures flatten the batch before the MLP.
        seen.append(layer)
        receive(layer, activations.reshape(*input_ids.shape, -1))
        if layer == wanted[-1]:
            raise _DeepestReached

    with torch.inference_mode(), _hooked(model.projections, wanted, take), suppress(_DeepestReached):
        model.body(**_arguments(model, input_ids, attention_mask))
    if seen != wanted:
        raise UnsupportedArchitecture(f"{model.card.id}: its layers ran as {seen}, not as {wanted}")


def _arguments(model: LoadedModel, input_ids: Tensor, attention_mask: Tensor | None) -> dict[str, Any]:
    mask = None if attention_mask is None else attention_mask.to(model.device)
    arguments: dict[str, Any] = {"input_ids": input_ids.to(model.device), "attention_mask": mask}
    return arguments | ({"use_cache": False} if model.family.kind == "decoder" else {})


@contextmanager
def _hooked(projections: Sequence[nn.Module], layers: Sequence[int], take: Receive) -> Iterator[None]:
    """Calls `take` with the input of each of these layers' projections while the block lasts."""

    def hook(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: take(layer, inputs[0])

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(projections[layer].register_forward_pre_hook(hook(layer)).remove)
        yield
