"""Attention sinks: tokens whose residual stream is many times as long as the others' of a layer.

Source: Xiao et al. 2024 (arXiv 2309.17453); Sun et al. 2024, "Massive activations in large language
models" (arXiv 2402.17762). Tensors and arrays in and out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def measure_norms(hidden: Tensor) -> Tensor:
    """(B, S, D), any float, to (B, S) float32."""
    return torch.linalg.vector_norm(hidden, dim=-1, dtype=torch.float32)


def choose_limit(norms: np.ndarray, factor: float) -> float:
    """The longest that a token may be which is no sink, a float32; infinite where no norm is
    finite. norms: (T,) float32.
    """
    known = norms[np.isfinite(norms)]
    median = np.median(known.astype(np.float64)) if len(known) else np.inf
    return float(np.float32(factor * median))


def find_sinks(norms: Tensor, limit: float) -> Tensor:
    """(B, S) bool. What is not finite is none: it is to be seen that a model makes it."""
    return (norms > limit) & norms.isfinite()
