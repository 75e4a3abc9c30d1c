"""The kernels in plain torch, for every device: what the other forms are tested against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.statistics.bands import band_of
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import PAYLOAD, ContextLists, TailLists
from polyseme.workers.analysis.scan.statistics.draws import draw_keys
from polyseme.workers.analysis.scan.statistics.extremes import Extremes, find_extremes
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.scan.statistics.top_lists import (
    EMPTY,
    Accepted,
    encode_keys,
    encode_samples,
)


def reduce(block: Block, activations: Tensor, statistics: LayerStatistics) -> Extremes:
    activations = activations.float()
    flat = activations.flatten(0, 1)  # (B * S, N)
    if block.uncounted is not None:
        flat = flat.index_select(0, block.counted_index)  # (T, N)
    statistics.moments.update(flat)
    statistics.histogram.update(flat)
    extremes = find_extremes(block, activations)
    statistics.note_nonfinite(torch.cat([extremes.high, extremes.low]))
    statistics.high = statistics.high.maximum(extremes.high.amax(0))
    statistics.low = statistics.low.minimum(extremes.low.amin(0))
    return extremes


reduce_sparse = reduce


def offer(
    block: Block, activations: Tensor, extremes: Extremes, tail: Tail, lists: TailLists
) -> None:
    extreme, places = extremes.of(tail)
    places = places.to(torch.int64)
    peaks = extreme * lists.sign  # (B, N)
    documents = block.documents.gather(1, places)  # (B, N)
    for kept, accepted in _offer(block, peaks, documents, lists):
        _keep(kept, accepted, block, activations.float(), extreme, places)


def merge(lists: ContextLists, entries: Mapping[str, np.ndarray]) -> None:
    offsets = np.concatenate([[0], np.cumsum(entries["counts"], dtype=np.int64)])
    rows = np.repeat(np.arange(len(offsets) - 1), entries["counts"])
    columns = np.arange(len(rows)) - offsets[rows]
    laid = len(offsets) - 1, int(entries["counts"].max(initial=1))
    keys, documents = np.full(laid, EMPTY), np.full(laid, -1, np.int32)
    keys[rows, columns], documents[rows, columns] = entries["keys"], entries["documents"]
    accepted = lists.top.offer(torch.from_numpy(keys), torch.from_numpy(documents))
    taken = torch.from_numpy(offsets)[accepted.lists] + accepted.columns
    for name in PAYLOAD:
        lists.named[name][accepted.lists, accepted.slots] = torch.from_numpy(entries[name])[taken]


def find_firings(flat: Tensor, index: Tensor, sign: float, threshold: Tensor) -> Tensor:
    fires = flat.index_select(0, index).float() * sign > threshold  # (r, N)
    padded = torch.nn.functional.pad(fires.to(torch.uint8), (0, -fires.shape[1] % 8))
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=fires.device)
    return (padded.unflatten(1, (-1, 8)) << shifts).sum(2, dtype=torch.uint8)


def _offer(
    block: Block, peaks: Tensor, documents: Tensor, lists: TailLists
) -> Iterator[tuple[ContextLists, Accepted]]:
    keys = encode_keys(peaks, block.numbers[:, None])  # (B, N)
    if lists.sizes.active_only:
        keys = keys.where(peaks > 0, EMPTY)
    of_each = documents.T.contiguous()
    for kept in lists.with_shown("top"):
        yield kept, kept.top.offer(keys.T.contiguous(), of_each)
    if lists.seeds is not None and lists.fires is not None:
        keys = draw_keys(peaks, block.numbers, lists.seeds, lists.fires)
        for kept in lists.with_shown("sample"):
            yield kept, kept.top.offer(keys.T.contiguous(), of_each)
    if lists.edges is None:
        return
    bands = torch.arange(lists.sizes.bands, device=peaks.device)
    held = band_of(peaks, lists.edges)[:, :, None] == bands  # (B, N, bands)
    lists.band_windows += held.sum(0)
    drawn = encode_samples(block.priorities, block.numbers)[:, None, None]
    keys = torch.where(held, drawn, EMPTY).flatten(1)  # (B, N * bands)
    of_each = documents.T.repeat_interleave(lists.sizes.bands, 0)
    for kept in lists.with_shown("sample"):
        yield kept, kept.top.offer(keys.T.contiguous(), of_each)


def _keep(
    lists: ContextLists,
    accepted: Accepted,
    block: Block,
    activations: Tensor,
    extreme: Tensor,
    places: Tensor,
) -> None:
    """Copies the payload of the entries that just entered the lists."""
    if not len(accepted.lists):
        return
    neurons = accepted.lists // (len(lists.row) // extreme.shape[1])
    windows = accepted.columns
    position = places[windows, neurons]  # (P,)
    size = lists.display.shape[2]
    spare = block.lengths[windows] - size
    start = (position - size // 2).minimum(spare).clamp(min=0)
    shown = start[:, None] + torch.arange(size, device=start.device)  # (P, D)
    shown = shown.clamp(max=activations.shape[1] - 1)
    display = activations[windows[:, None], shown, neurons[:, None]]
    at = accepted.lists, accepted.slots
    lists.row[at] = block.rows[windows]
    lists.position[at] = position.to(torch.int32)
    lists.start[at] = start.to(torch.int32)
    lists.peak[at] = extreme[windows, neurons]
    lists.display[at] = display.clamp(-65504, 65504).to(torch.float16)
