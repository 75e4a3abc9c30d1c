"""Whether a GPU's kernels can be relied on here: they are tried beside plain torch on a small
made-up block.

A driver, a version of Triton or a kind of GPU that nobody has tried must cost time, not right
results.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.corpus.windows import Window, pack, unpack
from polyseme.workers.analysis.scan.kernels import gpu, reference
from polyseme.workers.analysis.scan.kernels.interface import Kernels
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import (
    ListSizes,
    Sample,
    TailLists,
    joined,
)
from polyseme.workers.analysis.scan.statistics.draws import Draws, unit_seeds
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics

_log = logging.getLogger(__name__)

_WINDOWS, _TOKENS, _NEURONS = 40, 24, 80
_TAILS: tuple[Tail, ...] = ("positive", "negative")
_SIZES = ListSizes(5, 3, 3, display=8, distinct=True, shown_top=3, shown_band=2)
_CLOSE = 1e-5  # of moments, that plain torch sums in float32


@cache
def kernels_work(device: torch.device) -> bool:
    """Says in the log why not."""
    try:
        differing = _compare(device)
    except Exception as e:  # of Triton, its compilers or the driver: anything
        differing = [f"{type(e).__name__}: {e}"]
    if differing:
        _log.warning(
            "the scan runs without kernels on %s, and slowly: %s", device, "; ".join(differing)
        )
    return not differing


def _compare(device: torch.device) -> list[str]:
    """What the kernels keep otherwise than plain torch."""
    rng = np.random.default_rng(0)
    block = Block(unpack(pack([_window(rng, number) for number in range(_WINDOWS)])), 0, 0, device)
    # In steps, so that there are ties.
    values = np.round(rng.standard_normal((_WINDOWS, _TOKENS, _NEURONS)) * 4) / 4
    activations = torch.from_numpy(values.astype(np.float32)).to(device)
    edges = np.full((_NEURONS, 2), (0.5, 1.5), np.float32)
    draws = Draws(unit_seeds(0, np.arange(_NEURONS), "positive"), edges[:, 0].copy())
    differing = []
    for sample, sizes in ((edges, _SIZES), (draws, replace(_SIZES, bands=1))):
        plain, plain_moments = _scan(block, activations, reference, sample, sizes)
        fast, moments = _scan(block, activations, gpu, sample, sizes)
        differing += [n for n, array in plain.items() if not np.array_equal(array, fast[n])]
        for name, expected in plain_moments.items():
            if not np.allclose(expected, moments[name], rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
                differing.append(name)
    return differing


def _window(rng: np.random.Generator, number: int) -> Window:
    size = int(rng.integers(1, _TOKENS + 1)) if number else _TOKENS
    zero = np.zeros(size, np.int32)
    counted = rng.random(size) > 0.2
    counted[-1] = True
    return Window(number, zero, zero + number // 2, zero, zero, counted)


def _scan(
    block: Block, activations: Tensor, kernels: Kernels, sample: Sample, sizes: ListSizes
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All that is kept but the moments, of each list its entries by their keys; and the moments."""
    device = block.ids.device
    statistics = LayerStatistics(_NEURONS, device)
    lists = {tail: TailLists(_NEURONS, tail, sample, sizes, device) for tail in _TAILS}
    with torch.inference_mode():
        # The second time what is offered is there already.
        for _ in range(2):
            extremes = kernels.reduce(block, activations, statistics)
            for tail, of_tail in lists.items():
                kernels.offer(block, activations, extremes, tail, of_tail)
    kept = joined({tail: of_tail.arrays() for tail, of_tail in lists.items()})
    names = [f"{tail}/{name}/" for tail, of_tail in lists.items() for name in of_tail.lists]
    for prefix in names:
        kept |= _sorted({n: a for n, a in kept.items() if n.startswith(prefix)}, prefix)
    others = statistics.arrays()
    for name in ("rows", "digits"):
        del others[name]
    return kept | others, statistics.moments.compute()


def _sorted(entries: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    counts = entries.pop(f"{prefix}counts")
    order = np.lexsort((entries[f"{prefix}keys"], np.repeat(np.arange(len(counts)), counts)))
    return {name: array[order] for name, array in entries.items()}
