"""Where something is read while a model runs. Knows modules, no hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn


def lay_flat(values: Tensor, batch: int, length: int) -> Tensor:
    """Some architectures flatten the batch before the MLP."""
    return values.reshape(batch, length, -1)


@dataclass(frozen=True, eq=False)
class Point:
    """Where a site is read in one layer: what enters a module, or what leaves it."""

    module: nn.Module
    side: Literal["input", "output"]
    shape: Callable[[Tensor, int, int], Tensor] = lay_flat  # of the tensor there: (B, S, N)

    def then(self, make: Callable[[Tensor], Tensor]) -> Point:
        """Where `make` makes other units of what is read here, (B, S, N) to (B, S, M)."""
        return replace(self, shape=lambda *given: make(self.shape(*given)))


def scaled_by(factor: float) -> Callable[[Tensor, int, int], Tensor]:
    """A shape that multiplies as well."""
    if factor == 1:
        return lay_flat
    return lambda values, batch, length: lay_flat(values, batch, length) * factor
