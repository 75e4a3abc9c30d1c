"""The logit lens: which output tokens a neuron pushes up and down by its direct path to the
unembedding.

Knows weights only; no text runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from polyseme.workers.analysis.families.parts import Parts, scaled

_RUN = 64  # tokens whose maximum is taken first
# neurons at once: bounds memory to a few times _ROWS * vocabulary floats, and fixes the matrix
# shapes
_ROWS = 64


@dataclass(frozen=True, eq=False)
class Lens:
    """Tokens by the logit that one unit of activation adds, of each of N neurons.

    Equal logits go by token id.
    """

    promoted_tokens: NDArray[np.int32]  # (N, k), logit descending
    promoted_logits: NDArray[np.float32]
    suppressed_tokens: NDArray[np.int32]  # (N, k), logit ascending
    suppressed_logits: NDArray[np.float32]


def logit_lens(parts: Parts, directions: Tensor | None, k: int = 10) -> Lens | None:
    """The k most promoted and most suppressed tokens of every unit of a layer.

    directions: what a unit adds to the residual stream, (N, D), as its site has it. That less its
    mean if the last norm is a LayerNorm, times that norm's weight, times the unembedding, over what
    the model divides logits by, in float32. Left out: the scales that the norms divide by, which
    depend on the token and change no order; a bias and a soft cap of the logits; and what later
    layers make of it. None without directions, for encoders, and for decoders without a last norm
    (OPT-350m), which have no such path.
    """
    if parts.unembedding is None or parts.norm is None or directions is None:
        return None
    with torch.inference_mode():
        unembedding = parts.unembedding.float()
        directions = _seen_by_unembedding(directions, parts)
        if directions.shape[1] != unembedding.shape[1]:
            return None
        parts_of_rows = [_extremes(rows @ unembedding.T, k) for rows in directions.split(_ROWS)]
    columns = [torch.cat(parts).cpu().numpy() for parts in zip(*parts_of_rows, strict=True)]
    return Lens(columns[0].astype(np.int32), columns[1], columns[2].astype(np.int32), columns[3])


def _seen_by_unembedding(directions: Tensor, parts: Parts) -> Tensor:
    """What of the residual stream's directions, (N, D), reaches the unembedding."""
    kind = parts.family.norm_kind
    if kind == "layer":
        directions = directions - directions.mean(1, keepdim=True)
    return scaled(directions, parts.norm, kind) / parts.logit_divisor


def _extremes(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """logits: (rows, vocabulary). The k largest as tokens and logits, then the k smallest."""
    up_tokens, up_logits = _largest(logits, k)
    down_tokens, down_negated = _largest(-logits, k)
    return up_tokens, up_logits, down_tokens, -down_negated


def _largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest a row, descending, equal ones by token id.

    The k largest lie in the k runs of tokens with the largest maxima, so only those are sorted.
    Where more runs than that reach the last value taken, it may stand first in one that was left
    out, and the whole row is sorted.
    """
    k = min(k, logits.shape[1])
    runs = F.pad(logits, (0, -logits.shape[1] % _RUN), value=-math.inf).unflatten(
        1, (-1, _RUN)
    )  # (rows, runs, _RUN)
    maxima = runs.amax(2)
    chosen = maxima.topk(min(k, maxima.shape[1]), dim=1).indices.sort(dim=1).values  # (rows, k)
    candidates = (chosen[:, :, None] * _RUN + torch.arange(_RUN, device=logits.device)).flatten(1)
    tokens, values = _first_of(runs.flatten(1).gather(1, candidates), candidates, k)
    tied = ((maxima >= values[:, -1:]).sum(1) > chosen.shape[1]).nonzero()[:, 0]
    if len(tied):
        everything = torch.arange(logits.shape[1], device=logits.device).expand(len(tied), -1)
        tokens[tied], values[tied] = _first_of(logits[tied], everything, k)
    return tokens, values


def _first_of(logits: Tensor, tokens: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Of tokens that ascend along a row, the k with the largest logits; of equal ones the first."""
    ordered = logits.sort(dim=1, descending=True, stable=True)
    return tokens.gather(1, ordered.indices[:, :k]), ordered.values[:, :k].clone()
