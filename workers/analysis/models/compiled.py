"""A model whose layers are compiled by torch.compile, and what hands out its activations all the
same.

A hook that is put into a compiled layer later is passed over without a word, and one that differs
from layer to layer has each layer compiled anew. So all layers have the same hook from the start,
which hands on to whoever listens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyseme.contract.errors import ModelLoadError
from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites.point import Point

Take = Callable[[Tensor], None]


class Relay:
    """Hands what enters some modules to whoever listens there."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = frozenset(modules)
        self._takes: dict[nn.Module, list[Take]] = {}
        for module in self._modules:
            module.register_forward_pre_hook(self._hand_on, with_kwargs=True)

    def covers(self, points: Iterable[Point]) -> bool:
        """Whether it hands on all that stands at these points."""
        return all(p.side == "input" and p.module in self._modules for p in points)

    @contextmanager
    def listening(self, takes: Sequence[tuple[Point, Take]]) -> Iterator[None]:
        self._takes = defaultdict(list)
        for point, take in takes:
            self._takes[point.module].append(take)
        try:
            yield
        finally:
            self._takes = {}

    @torch.compiler.disable
    def _hand_on(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for take in self._takes.get(module, ()):
            take(args[0] if args else kwargs["hidden_states"])


@contextmanager
def explaining_failures(model: str) -> Iterator[None]:
    """Raises ModelLoadError for what torch.compile cannot do. model: its id."""
    from torch._dynamo.exc import TorchDynamoException  # seconds, that only those pay who compile

    try:
        yield
    except TorchDynamoException as e:
        reason = str(e).strip().splitlines()[0][:300]
        raise ModelLoadError(
            f"{model}: torch.compile failed: {reason}. Without POLYSEME_COMPILE or --compile it "
            f"may run"
        ) from e


def compile_layers(parts: Parts) -> Relay:
    """Has the layers compiled when they first run, once for all of them and for blocks of any
    shape.

    Whatever hooks of a layer itself run outside of what is compiled. The relay hands on what enters
    the MLPs, and what enters their output projections.
    """
    relay = Relay([*parts.projections, *(modules[0] for modules in parts.inputs)])
    for layer in parts.blocks:
        layer.forward = torch.compile(layer.forward, dynamic=True)
    return relay
