"""The scan of one block on a GPU, in Triton: tensors in, tensors changed, and nothing waited for.

`reference` holds the same computation in plain torch, which this one is tested against. Sums are of
float32 within a window, of float64 over windows. Which program does what depends on the shape of a
block alone, so results do too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import torch
import triton
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.kernels import reference, triton_programs
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import TailLists
from polyseme.workers.analysis.scan.statistics.extremes import Extremes
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.scan.statistics.moments import LOWEST, TOP, WEIGHTS

# Tokens and neurons of a tile of `reduce`: few tokens, so that its threads seldom need each other.
_ROWS, _ACROSS = 4, 64
# Of `count`, whose neurons' histograms lie in the memory of one processor.
_TOKENS, _BESIDE = 128, 16
_PROGRAMS = 2048  # wanted at once, so that each of a GPU's processors has some
_LISTS = 16  # neurons whose lists one program of `offer` keeps
_FEWEST = 16  # windows or slots of a tile
# Earlier versions make a histogram of votes, in which each of a processor's threads looks at every
# bin.
_COUNTS_IN_SHARED_MEMORY = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 8)


def reduce(block: Block, activations: Tensor, statistics: LayerStatistics) -> Extremes:
    """Nothing waits for the GPU."""
    statistics.moments.count += block.counted_tokens
    with torch.cuda.device_of(activations):
        high, high_at, low, low_at = reduce_block(
            activations,
            block.counted,
            statistics.histogram.counts,
            statistics.moments.digits,
            statistics.high,
            statistics.low,
            statistics.nonfinite,
        )
    return Extremes(high, high_at, low, low_at)


reduce_sparse = reduce  # which waits for memory, not for what is done with it


def offer(
    block: Block, activations: Tensor, extremes: Extremes, tail: Tail, lists: TailLists
) -> None:
    shared = activations, block.tensors, *extremes.of(tail), int(lists.sign)
    offer_to = partial(offer_block, *shared, distinct=lists.sizes.distinct)
    with torch.cuda.device_of(activations):
        for kept in lists.with_shown("top"):
            offer_to(kept.tensors())
        for i, kept in enumerate(lists.with_shown("sample")):
            if lists.edges is not None:
                counted = lists.band_windows if i == 0 else None
                offer_to(kept.tensors(), bands=(lists.edges, counted))
            elif lists.seeds is not None and lists.fires is not None:
                offer_to(kept.tensors(), draws=(lists.seeds, lists.fires))


# Lists are merged on a CPU, and firings are few.
merge = reference.merge
find_firings = reference.find_firings


def reduce_block(
    activations: Tensor,
    counted: Tensor,
    histogram: Tensor,
    digits: Tensor,
    high: Tensor,
    low: Tensor,
    nonfinite: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The statistics of a block. Returns the extremes of each window and where they are first:
    high, high_at, low, low_at (B, N), float32 and int32.

    activations: (B, S, N), any float; counted: (B, S) bool. Added to: histogram (N, BINS) int32;
    digits (ROWS, N) int64, of the sums of the powers, as in `moments.Moments`; high, low (N,)
    float32. Set to 1: nonfinite (N,) int32, where a counted activation is not finite; all else of
    that neuron then has no meaning.
    """
    windows, length, neurons = activations.shape
    device = activations.device
    extremes = [torch.empty(windows, neurons, device=device) for _ in range(2)]
    places = [torch.empty(windows, neurons, dtype=torch.int32, device=device) for _ in range(2)]
    chunks = triton.cdiv(neurons, _ACROSS)
    each = triton.cdiv(windows * chunks, _PROGRAMS)  # windows of a program
    parts = triton.cdiv(windows, each)
    sums = torch.empty(parts, 4, neurons, dtype=torch.float64, device=device)
    here = counted.view(torch.uint8)
    tile = {"ROWS": _ROWS, "NEURONS": _ACROSS}
    sizes = windows, length, neurons, each
    triton_programs.reduce[chunks, parts](
        activations, here, *extremes, *places, sums, *sizes, **tile, num_warps=2
    )
    triton_programs.rescale[chunks, parts](
        activations, here, *extremes, sums, *sizes, **tile, num_warps=2
    )
    chunks = triton.cdiv(neurons, _BESIDE)
    each = (
        triton.cdiv(triton.cdiv(windows * length * chunks, _PROGRAMS), _TOKENS) * _TOKENS
    )  # tokens of a program
    parts_of_tokens = triton.cdiv(windows * length, each)
    tile = {"TOKENS": _TOKENS, "NEURONS": _BESIDE, "SHARED": _COUNTS_IN_SHARED_MEMORY}
    triton_programs.count[chunks, parts_of_tokens](
        activations, here, histogram, windows * length, neurons, each, **tile
    )
    tile = {"ROWS": 64, "NEURONS": 32}
    triton_programs.finish[triton.cdiv(neurons, 32),](
        *extremes,
        sums,
        *_digit_tables(device),
        digits,
        high,
        low,
        nonfinite,
        windows,
        neurons,
        parts,
        **tile,
    )
    return extremes[0], places[0], extremes[1], places[1]


def offer_block(
    activations: Tensor,
    block: Sequence[Tensor],
    extremes: Tensor,
    places: Tensor,
    sign: int,
    lists: Sequence[Tensor],
    *,
    bands: tuple[Tensor, Tensor | None] | None = None,
    draws: tuple[Tensor, Tensor] | None = None,
    distinct: bool,
) -> None:
    """Offers each window to a list of each neuron: the top list; with bands that of the band its
    peak lies in; with draws that of a sample by activation.

    block: numbers, priorities, lengths (B,) int64, rows (B,), documents (B, S) int32; extremes,
    places: (B, N), of the tail; bands: edges (N, bands - 1) float32 and band_windows (N, bands)
    int64, which are added to where they are given; draws: seeds (N,) int64 and fires (N,) float32,
    as in `draws.Draws`. Changed: lists, as in `cpu.offer_block`, the display as float16.
    """
    windows, length, neurons = activations.shape
    k, shown = lists[0].shape[1], lists[-1].shape[2]
    edges, band_windows = (extremes, None) if bands is None else bands
    seeds, fires = (extremes, extremes) if draws is None else draws
    kind = triton_programs.TOP if draws is None else triton_programs.DRAWN
    kind = kind if bands is None else triton_programs.BANDS
    each = 1 if bands is None else edges.shape[1] + 1
    triton_programs.offer[triton.cdiv(neurons, _LISTS), each](
        activations,
        *block,
        extremes,
        places,
        edges,
        edges if band_windows is None else band_windows,
        seeds,
        fires,
        *lists,
        windows,
        length,
        neurons,
        k,
        shown,
        each,
        sign,
        NEURONS=_LISTS,
        WINDOWS=_power_of_two(windows),
        num_warps=8 if windows > 64 else 4,
        SLOTS=_power_of_two(k),
        KIND=kind,
        COUNTS=band_windows is not None,
        DISTINCT=distinct,
    )


@cache
def _digit_tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of the digits: weights (ROWS,) float64; of each power digit 0's row and the lowest digit,
    int64.
    """
    weights, tops, bottoms = (torch.from_numpy(t).to(device) for t in (WEIGHTS, TOP, LOWEST))
    return weights, tops, bottoms


def _power_of_two(size: int) -> int:
    return max(_FEWEST, triton.next_power_of_2(size))
