"""What is done to activations before they are encoded, and undone after they are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

_EPSILON = 1e-5  # of the layer norm, added to the deviation


class InputNorm(Protocol):
    name: ClassVar[str]

    def apply(self, x: Tensor) -> Tensor:
        """x: (T, D)."""

    def undo(self, y: Tensor, x: Tensor) -> Tensor:
        """What was decoded, (T, D), in the units of the input x that it was encoded from."""


@dataclass(frozen=True)
class NoNorm:
    name: ClassVar[str] = "none"

    def apply(self, x: Tensor) -> Tensor:
        return x

    def undo(self, y: Tensor, x: Tensor) -> Tensor:
        return y


@dataclass(frozen=True)
class LayerNorm:
    """Mean 0 and deviation 1 of each token, the deviation with D - 1.

    Source: SAELens' `layer_norm`, and OpenAI's `LN` of sparse_autoencoder.
    """

    name: ClassVar[str] = "layer_norm"

    def apply(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.std(-1, keepdim=True) + _EPSILON)

    def undo(self, y: Tensor, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        return y * (x - mean).std(-1, keepdim=True) + mean


@dataclass(frozen=True)
class NormRescale:
    """Each token at the length sqrt(D). Source: SAELens' `constant_norm_rescale`."""

    name: ClassVar[str] = "constant_norm_rescale"

    def apply(self, x: Tensor) -> Tensor:
        return x * self._factor(x)

    def undo(self, y: Tensor, x: Tensor) -> Tensor:
        return y / self._factor(x)

    def _factor(self, x: Tensor) -> Tensor:
        return x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True)


NORMS: dict[str, InputNorm] = {norm.name: norm for norm in (NoNorm(), LayerNorm(), NormRescale())}
