"""The same answers by keeping everything: hooks of its own, every activation in memory, and
Python's sort.

Shares no code with `polyseme.workers.analysis`. It runs the windows in the blocks it is given, as
the same window among other neighbours may differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

NEAR, NEAR_SHARE = 8, 0.8


@dataclass(frozen=True)
class Row:
    """A window: its token ids, and which of them count."""

    number: int
    document: int
    ids: list[int]
    counted: list[bool]


def cut(tokenizer: Any, texts: Sequence[str], size: int) -> list[tuple[int, list[int]]]:
    """(document, token ids) of every window, in order, for a tokenizer that adds nothing around a
    text.
    """
    rows = []
    for document, text in enumerate(texts):
        ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        rows += [(document, ids[i : i + size]) for i in range(0, len(ids), size)]
    return rows


def keep_activations(
    body: Any,
    modules: dict[int, torch.nn.Module],
    blocks: Sequence[Sequence[Row]],
    *,
    leaving: bool = False,
) -> dict[int, dict[int, np.ndarray]]:
    """Of each layer and window number, (S, N) float32: all that enters a module, or leaves it."""
    kept: dict[int, dict[int, np.ndarray]] = {layer: {} for layer in modules}
    now: list[Row] = []

    def keep(layer: int) -> Any:
        def hook(_module: Any, *passed: Any, **_: Any) -> None:
            tensor = passed[-1] if leaving else passed[0] or (passed[1]["hidden_states"],)
            tensor = tensor[0] if isinstance(tensor, tuple) else tensor
            values = tensor.detach().float().reshape(len(now), -1, tensor.shape[-1])
            for row, of_row in zip(now, values, strict=True):
                kept[layer][row.number] = of_row[: len(row.ids)].numpy().copy()

        return hook

    handles = [
        module.register_forward_hook(keep(layer))
        if leaving
        else module.register_forward_pre_hook(keep(layer), with_kwargs=True)
        for layer, module in modules.items()
    ]
    for block in blocks:
        now[:] = block
        longest = max(len(row.ids) for row in block)
        ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in block])
        with torch.no_grad():
            body(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return kept


@dataclass(frozen=True)
class Peak:
    value: float  # sign * activation
    document: int
    window: int
    position: int


def peaks_of(
    activations: dict[int, np.ndarray], rows: Sequence[Row], sign: float
) -> list[list[Peak]]:
    """Of each neuron, its peak in every window, in window order."""
    neurons = next(iter(activations.values())).shape[1]
    found: list[list[Peak]] = [[] for _ in range(neurons)]
    for row in sorted(rows, key=lambda r: r.number):
        counted = np.flatnonzero(row.counted)
        values = sign * activations[row.number][counted]
        at = values.argmax(0)
        for neuron, (place, value) in enumerate(zip(at, values.max(0), strict=True)):
            found[neuron].append(Peak(float(value), row.document, row.number, int(counted[place])))
    return found


def best(peaks: Sequence[Peak], k: int, *, one_a_document: bool) -> list[Peak]:
    """The k largest; ties go to the earlier document, window and position."""
    chosen: list[Peak] = []
    documents: set[int] = set()
    for peak in sorted(peaks, key=lambda p: (-p.value, p.document, p.window, p.position)):
        if one_a_document and peak.document in documents:
            continue
        documents.add(peak.document)
        chosen.append(peak)
        if len(chosen) == k:
            break
    return chosen


def without_copies(
    peaks: Sequence[Peak], ids: dict[int, list[int]], k: int
) -> tuple[list[Peak], int]:
    """The first k that resemble no kept one before them, and how many were left out until then."""
    kept: list[Peak] = []
    dropped = 0
    for peak in peaks:
        if len(kept) == k:
            break
        if any(_alike(ids[peak.window], peak.position, ids[o.window], o.position) for o in kept):
            dropped += 1
        else:
            kept.append(peak)
    return kept, dropped


def _alike(a: list[int], i: int, b: list[int], j: int) -> bool:
    either = same = 0
    for d in range(-NEAR, NEAR + 1):
        x = a[i + d] if 0 <= i + d < len(a) else None
        y = b[j + d] if 0 <= j + d < len(b) else None
        either += x is not None or y is not None
        same += x is not None and x == y
    return same >= NEAR_SHARE * either
