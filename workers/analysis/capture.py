"""Runs a model over a block of token ids and hands out what goes into its MLP output projections.

Knows modules and hooks; what is done with the activations is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import UnsupportedArchitecture
from workers.analysis.compiled import explaining_failures
from workers.analysis.model import LoadedModel

Receive = Callable[[int, Tensor], None]


class _DeepestReached(Exception):
    """Unwinds a forward pass that has nothing left to give."""


@dataclass(frozen=True)
class Taps:
    """What else a forward pass is to hand out, (B, S, D) each."""

    residual: Callable[[int, Tensor], None] | None = None  # what enters each reference layer, ascending
    mlp_inputs: Callable[[int, Tensor], None] | None = None  # what a wanted layer's input projections multiply


def reference_layers(layers: int) -> tuple[int, ...]:
    """The layers whose incoming residual streams stand for a token's meaning, of a model with so many.

    A fifth and a third down: the word, and the word as the text uses it.
    """
    return tuple(sorted({round(layers / 5), round(layers / 3)}))


def level(hidden: Tensor) -> Tensor:
    """Vectors at root mean square 1, float32: what the next norm makes of them, and far from float16's end. (T, D)."""
    wide = hidden.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-12)


def run_block(
    model: LoadedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    layers: Sequence[int],
    receive: Receive,
    taps: Taps | None = None,
) -> None:
    """Hands each wanted layer's neurons to `receive(layer, activations)`, ascending, as soon as they are computed.

    input_ids: (B, S); attention_mask: (B, S), 1 at tokens, or None when every token is one. A decoder needs none for
    padding on the right, as no token looks ahead; an encoder does. layers: any order.
    Activations are (B, S, N), valid until `receive` returns, in inference mode. Of the deepest layer that is needed
    only what leads there is run, and nothing behind it. What `receive` and the taps raise passes through, and no hook
    stays behind.
    """
    wanted = sorted(set(layers))
    if not wanted:
        return
    watch = _Watch(wanted, tuple(input_ids.shape), receive, taps or Taps(), reference_layers(len(model.blocks)))
    with torch.inference_mode(), _hooked(model, watch), suppress(_DeepestReached):
        model.body(**_arguments(model, input_ids, attention_mask))
    if watch.seen != wanted:
        raise UnsupportedArchitecture(f"{model.card.id}: its layers ran as {watch.seen}, not as {wanted}")
    if watch.awaited:
        raise UnsupportedArchitecture(f"{model.card.id}: its layers {sorted(watch.awaited)} did not run")


class _Watch:
    """Follows one forward pass: hands on what its hooks see, and ends it when nothing more is wanted."""

    def __init__(
        self, wanted: list[int], shape: tuple[int, ...], receive: Receive, taps: Taps, references: tuple[int, ...]
    ) -> None:
        self.wanted, self.taps = wanted, taps
        self.seen: list[int] = []
        self.awaited = set(references) if taps.residual is not None else set()
        self._shape, self._receive = shape, receive

    def take_activations(self, layer: int, activations: Tensor) -> None:
        if layer not in self.wanted:
            return
        self.seen.append(layer)
        self._receive(layer, self._shaped(activations))
        self._end_if_done()

    def take_residual(self, layer: int, hidden: Tensor) -> None:
        self.awaited.discard(layer)
        assert self.taps.residual is not None
        self.taps.residual(layer, self._shaped(hidden))
        self._end_if_done()

    def take_input(self, layer: int, hidden: Tensor) -> None:
        assert self.taps.mlp_inputs is not None
        self.taps.mlp_inputs(layer, self._shaped(hidden))

    def _shaped(self, values: Tensor) -> Tensor:
        # Some architectures flatten the batch before the MLP.
        return values.reshape(*self._shape, -1)

    def _end_if_done(self) -> None:
        if self.seen[-1:] == self.wanted[-1:] and not self.awaited:
            raise _DeepestReached


def _arguments(model: LoadedModel, input_ids: Tensor, attention_mask: Tensor | None) -> dict[str, Any]:
    mask = None if attention_mask is None else attention_mask.to(model.device)
    arguments: dict[str, Any] = {"input_ids": input_ids.to(model.device), "attention_mask": mask}
    return arguments | ({"use_cache": False} if model.family.kind == "decoder" else {})


@contextmanager
def _hooked(model: LoadedModel, watch: _Watch) -> Iterator[None]:
    """Calls `watch` from the modules it needs while the block lasts."""
    with ExitStack() as stack:

        def hook(module: nn.Module, take: Callable[[Tensor], None]) -> None:
            handle = module.register_forward_pre_hook(
                lambda _module, args, kwargs: take(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
            stack.callback(handle.remove)

        if model.relay is not None:
            stack.enter_context(model.relay.listening(watch.take_activations))
            stack.enter_context(explaining_failures(model.card.id))
        if model.relay is not None and watch.taps.mlp_inputs is not None:
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # else these hooks would not run
        for layer in watch.wanted:
            if model.relay is None:
                hook(model.projections[layer], partial(watch.take_activations, layer))
            if watch.taps.mlp_inputs is not None:
                hook(model.inputs[layer][0], partial(watch.take_input, layer))
        for layer in sorted(watch.awaited):
            hook(model.blocks[layer], partial(watch.take_residual, layer))
        yield
