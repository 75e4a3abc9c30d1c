"""Whether a GPU's kernels can be relied on here: they are tried beside plain torch on a small made-up block.

A driver, a version of Triton or a kind of GPU that nobody has tried must cost time, not right results.
"""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import torch
from torch import Tensor

from contract.request import Tail
from workers.analysis.scan import Block, Kernels, LayerScan, ListSizes
from workers.analysis.windows import Window, pack, unpack

_log = logging.getLogger(__name__)

_WINDOWS, _TOKENS, _NEURONS = 40, 24, 80
_TAILS: tuple[Tail, ...] = ("positive", "negative")
_SIZES = ListSizes(top=5, band=2, bands=3, display=8, distinct=True)
_CLOSE = 1e-5  # of moments, that plain torch sums in float32


@cache
def kernels_work(device: torch.device) -> bool:
    """Says in the log why not."""
    try:
        differing = _compare(device)
    except Exception as e:  # of Triton, its compilers or the driver: anything
        differing = [f"{type(e).__name__}: {e}"]
    if differing:
        _log.warning("the scan runs without kernels on %s, and slowly: %s", device, "; ".join(differing))
    return not differing


def _compare(device: torch.device) -> list[str]:
    """What the kernels keep otherwise than plain torch."""
    rng = np.random.default_rng(0)
    block = Block(unpack(pack([_window(rng, number) for number in range(_WINDOWS)])), 0, 0, device)
    # In steps, so that there are ties.
    values = np.round(rng.standard_normal((_WINDOWS, _TOKENS, _NEURONS)) * 4) / 4
    activations = torch.from_numpy(values.astype(np.float32)).to(device)
    plain, fast = (_scan(block, activations, kernels) for kernels in ("none", "gpu"))
    differing = [name for name, array in _kept(plain).items() if not np.array_equal(array, _kept(fast)[name])]
    moments = fast.moments.compute()
    for name, expected in plain.moments.compute().items():
        if not np.allclose(expected, moments[name], rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
            differing.append(name)
    return differing


def _window(rng: np.random.Generator, number: int) -> Window:
    size = int(rng.integers(1, _TOKENS + 1)) if number else _TOKENS
    zero = np.zeros(size, np.int32)
    counted = rng.random(size) > 0.2
    counted[-1] = True
    return Window(number, zero, zero + number // 2, zero, zero, counted)


def _scan(block: Block, activations: Tensor, kernels: Kernels) -> LayerScan:
    edges: dict[Tail, np.ndarray | None] = {t: np.full((_NEURONS, 2), (0.5, 1.5), np.float32) for t in _TAILS}
    scan = LayerScan(_NEURONS, edges, _SIZES, block.ids.device, kernels=kernels)
    with torch.inference_mode():
        # The second time what is offered is there already.
        for _ in range(2):
            scan.update(block, activations)
    return scan


def _kept(scan: LayerScan) -> dict[str, np.ndarray]:
    """All but the moments; of each list its entries in the order of their keys."""
    found = scan.arrays()
    del found["digits"]
    for lists in (f"{tail}/{kind}/" for tail in _TAILS for kind in ("top", "sample")):
        counts = found[f"{lists}counts"]
        order = np.lexsort((found[f"{lists}keys"], np.repeat(np.arange(len(counts)), counts)))
        of_entries = [name for name in found if name.startswith(lists) and not name.endswith("/counts")]
        found |= {name: found[name][order] for name in of_entries}
    return found
