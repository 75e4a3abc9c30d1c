"""Runs a model over a block of token ids and hands out what stands at the points asked for.

Knows modules and hooks; what is done with the activations is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from polyseme.contract.errors import UnsupportedArchitecture
from polyseme.workers.analysis.models.compiled import explaining_failures
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.point import Point, lay_flat

Receive = Callable[[int, Tensor], None]


class _DeepestReached(Exception):
    """Unwinds a forward pass that has nothing left to give."""


@dataclass(frozen=True)
class Tap:
    """Other points of the wanted layers, and who is handed what stands there."""

    points: Mapping[int, Point]
    receive: Receive


@dataclass(frozen=True)
class Taps:
    """What else a forward pass is to hand out, (B, S, D) each."""

    residual: Receive | None = None  # what enters each reference layer, ascending
    controls: Tap | None = None  # what control units are computed from
    # residual streams at a block's door, each before what its layer's units are computed from
    streams: Tap | None = None


def reference_layers(layers: int) -> tuple[int, ...]:
    """The layers whose incoming residual streams stand for a token's meaning, of a model with so
    many.

    A fifth and a third down: the word, and the word as the text uses it.
    """
    return tuple(sorted({round(layers / 5), round(layers / 3)}))


def level(hidden: Tensor) -> Tensor:
    """Vectors at root mean square 1, float32: what the next norm makes of them, and far from
    float16's end. (T, D).
    """
    wide = hidden.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-12)


def run_block(
    model: LoadedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    points: Mapping[int, Point],
    receive: Receive,
    taps: Taps | None = None,
) -> None:
    """Hands each wanted layer's units to `receive(layer, activations)`, ascending, as soon as they
    are computed.

    input_ids: (B, S); attention_mask: (B, S), 1 at tokens, or None when every token is one. A
    decoder needs none for padding on the right, as no token looks ahead; an encoder does. points:
    of a site, by layer. Activations are (B, S, N), valid until `receive` returns, in inference
    mode. Of the deepest layer that is needed only what leads there is run, and nothing behind it.
    What `receive` and the taps raise passes through, and no hook stays behind.
    """
    if not points:
        return
    references = reference_layers(len(model.parts.blocks))
    watch = _Watch(
        points, (input_ids.shape[0], input_ids.shape[1]), receive, taps or Taps(), references
    )
    wanted = watch.wanted
    with torch.inference_mode(), _hooked(model, watch), suppress(_DeepestReached):
        model.parts.body(**_arguments(model, input_ids, attention_mask))
    if watch.seen != wanted:
        raise UnsupportedArchitecture(
            f"{model.card.id}: its layers ran as {watch.seen}, not as {wanted}"
        )
    if watch.awaited:
        raise UnsupportedArchitecture(
            f"{model.card.id}: its layers {sorted(watch.awaited)} did not run"
        )


class _Watch:
    """Follows one forward pass: hands on what its hooks see, and ends it when nothing more is
    wanted.
    """

    def __init__(
        self,
        points: Mapping[int, Point],
        shape: tuple[int, int],
        receive: Receive,
        taps: Taps,
        references: tuple[int, ...],
    ) -> None:
        self.points, self.taps = points, taps
        self.wanted = sorted(points)
        self.seen: list[int] = []
        self.awaited = set(references) if taps.residual is not None else set()
        self._controls = set(taps.controls.points if taps.controls else ())  # not seen yet
        self._shape, self._receive = shape, receive

    def take_activations(self, layer: int, activations: Tensor) -> None:
        if layer not in self.points:
            return
        self.seen.append(layer)
        self._receive(layer, self.points[layer].shape(activations, *self._shape))
        self._end_if_done()

    def take_residual(self, layer: int, hidden: Tensor) -> None:
        self.awaited.discard(layer)
        assert self.taps.residual is not None
        self.taps.residual(layer, lay_flat(hidden, *self._shape))
        self._end_if_done()

    def take_stream(self, layer: int, hidden: Tensor) -> None:
        tap = self.taps.streams
        assert tap is not None
        tap.receive(layer, tap.points[layer].shape(hidden, *self._shape))

    def take_control(self, layer: int, hidden: Tensor) -> None:
        tap = self.taps.controls
        assert tap is not None
        tap.receive(layer, tap.points[layer].shape(hidden, *self._shape))
        self._controls.discard(layer)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.seen[-1:] == self.wanted[-1:] and not self.awaited and not self._controls:
            raise _DeepestReached


def _arguments(
    model: LoadedModel, input_ids: Tensor, attention_mask: Tensor | None
) -> dict[str, Any]:
    mask = None if attention_mask is None else attention_mask.to(model.device)
    arguments: dict[str, Any] = {"input_ids": input_ids.to(model.device), "attention_mask": mask}
    return arguments | ({"use_cache": False} if model.parts.family.kind == "decoder" else {})


@contextmanager
def _hooked(model: LoadedModel, watch: _Watch) -> Iterator[None]:
    """Calls `watch` from the modules it needs while the block lasts."""
    takes = [(p, partial(watch.take_activations, n)) for n, p in watch.points.items()]
    if watch.taps.controls is not None:
        takes += [
            (p, partial(watch.take_control, n)) for n, p in watch.taps.controls.points.items()
        ]
    with ExitStack() as stack:
        if watch.taps.streams is not None:
            # First, as what is handed on may stand at the same door. Outside of what is compiled.
            for layer, point in watch.taps.streams.points.items():
                _hook(stack, point, partial(watch.take_stream, layer))
        if model.relay is not None:
            stack.enter_context(explaining_failures(model.card.id))
        if model.relay is not None and model.relay.covers(p for p, _ in takes):
            stack.enter_context(model.relay.listening(takes))
        else:
            if model.relay is not None:
                # Other hooks inside a compiled layer would be passed over.
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for point, take in takes:
                _hook(stack, point, take)
        for layer in sorted(watch.awaited):
            entry = Point(model.parts.blocks[layer], "input")
            _hook(stack, entry, partial(watch.take_residual, layer))
        yield


def _hook(stack: ExitStack, point: Point, take: Callable[[Tensor], None]) -> None:
    def take_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(args[0] if args else kwargs["hidden_states"])

    def take_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        take(output[0] if isinstance(output, tuple) else output)

    if point.side == "input":
        handle = point.module.register_forward_pre_hook(take_input, with_kwargs=True)
    else:
        handle = point.module.register_forward_hook(take_output)
    stack.callback(handle.remove)
