"""What makes latents of pre-activations: (T, M) in, (T, M) out, none below 0. NaN stays NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class Gate(Protocol):
    architecture: ClassVar[str]

    def __call__(self, pre: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Relu:
    architecture: ClassVar[str] = "standard"

    def __call__(self, pre: Tensor) -> Tensor:
        return pre.relu()


@dataclass(frozen=True, eq=False)
class Gated:
    """One product of input and weights with two biases: whether a latent is active, and how much.

    Source: Rajamanoharan et al. 2024, arXiv 2404.16014.
    """

    architecture: ClassVar[str] = "gated"
    gate_bias: Tensor  # (M,)
    magnitude_bias: Tensor  # (M,)
    magnitude_factor: Tensor  # (M,), above 0

    def __call__(self, pre: Tensor) -> Tensor:
        closed = pre + self.gate_bias <= 0
        magnitude = pre * self.magnitude_factor + self.magnitude_bias
        return magnitude.relu_().masked_fill_(closed, 0)


@dataclass(frozen=True, eq=False)
class JumpRelu:
    """What is above its latent's threshold, whole. Source: Rajamanoharan et al. 2024, arXiv
    2407.14435.
    """

    architecture: ClassVar[str] = "jumprelu"
    threshold: Tensor  # (M,)

    def __call__(self, pre: Tensor) -> Tensor:
        return pre.relu().masked_fill_(pre <= self.threshold, 0)


@dataclass(frozen=True)
class TopK:
    """The k largest of each token, of equal ones those with the lowest index.

    Source: Gao et al. 2024, arXiv 2406.04093.
    """

    architecture: ClassVar[str] = "topk"
    k: int  # 1..M

    def __call__(self, pre: Tensor) -> Tensor:
        largest = pre.topk(min(self.k + 1, pre.shape[-1]), dim=-1)  # one more, to see who ties
        kept, places = (part[:, : self.k] for part in largest)
        latents = torch.zeros_like(pre).scatter_(-1, places, kept.relu())
        last = kept[:, -1:]
        tied = (largest.values[:, self.k :] == last).any(-1) & (last[:, 0] > 0)
        unclear = (tied | kept.isnan().any(-1)).nonzero()[:, 0]
        if len(unclear):
            latents[unclear] = _keep_lowest(pre[unclear], last[unclear], self.k)
        return latents


@dataclass(frozen=True)
class GroupMax:
    """The largest of each of k groups of latents that stand side by side, of equal ones the
    first.
    """

    architecture: ClassVar[str] = "groupmax"
    k: int  # divides M

    def __call__(self, pre: Tensor) -> Tensor:
        groups = pre.relu().unflatten(-1, (self.k, -1))  # (T, k, M / k)
        first = groups.argmax(-1, keepdim=True)
        kept = torch.zeros_like(groups).scatter_(-1, first, groups.gather(-1, first))
        return kept.flatten(-2)


def _keep_lowest(pre: Tensor, last: Tensor, k: int) -> Tensor:
    """Of those that equal the k-th largest, the first ones, until there are k; NaN stays, and of a
    token whose k-th largest it is, everything. pre: (R, M); last: (R, 1).
    """
    latents = pre.relu().masked_fill_(pre < last, 0)
    equal = latents == last
    room = k - (latents > last).sum(-1, keepdim=True)
    return latents.masked_fill_(equal & (equal.cumsum(-1) > room), 0)
