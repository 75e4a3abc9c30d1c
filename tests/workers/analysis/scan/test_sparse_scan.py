"""The scan of activations that are nearly all 0: the bytes of the other scan, whatever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes
from polyseme.workers.analysis.scan.statistics.draws import Draws, unit_seeds
from polyseme.workers.analysis.scan.statistics.top_lists import EMPTY
from tests.workers.analysis.builders import kernels_named, random_blocks

UNITS = 1150  # more than two chunks of the kernels
TAILS: tuple[Tail, ...] = ("positive", "negative")
SIZES = ListSizes(6, 5, 1, display=4, distinct=True, shown_top=3, shown_band=2)


def sparse_activations(
    blocks: Sequence[Block], share: float, *, seed: int, signed: bool = False
) -> list[Tensor]:
    """Each unit is active at about this share of the tokens; the first ten never, the next ten
    always. Many are tied.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for block in blocks:
        shape = (*block.ids.shape, UNITS)
        values = (torch.rand(shape, generator=generator) * 4).round() + 0.5
        if signed:
            values *= torch.randint(0, 2, shape, generator=generator) * 2 - 1
        active = torch.rand(shape, generator=generator) < share
        active[..., :10], active[..., 10:20] = False, True
        found.append(torch.where(active, values, 0.0))
    return found


def scan_all(
    blocks: Sequence[Block],
    activations: Sequence[Tensor],
    *,
    sparse: bool,
    kernels: str = "cpu",
    sizes: ListSizes = SIZES,
) -> LayerScan:
    fires = np.full(UNITS, 1.0, np.float32)
    samples = {t: Draws(unit_seeds(3, np.arange(UNITS), t), fires) for t in TAILS}
    scan = LayerScan(UNITS, samples, sizes, sparse=sparse, kernels=kernels_named(kernels))
    for block, values in zip(blocks, activations, strict=True):
        scan.update(block, values)
    return scan


def assert_same_bytes(one: LayerScan, other: LayerScan) -> None:
    first, second = one.arrays(), other.arrays()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def of_units(scan: LayerScan) -> list[np.ndarray]:
    """What is kept of each unit, by units."""
    kept = scan.statistics
    arrays = (kept.moments.digits.T, kept.histogram.counts, kept.high, kept.low)
    return [array.numpy() for array in arrays]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.9, 1.0])
def test_it_has_the_bytes_of_the_dense_scan(share: float, signed: bool) -> None:
    blocks = random_blocks(4)
    activations = sparse_activations(blocks, share, seed=int(share * 1000), signed=signed)

    dense = scan_all(blocks, activations, sparse=False)

    assert_same_bytes(scan_all(blocks, activations, sparse=True), dense)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_costs_the_same_unit_alone(value: float) -> None:
    blocks = random_blocks(5)
    activations = sparse_activations(blocks, 0.05, seed=5)
    at = tuple(blocks[1].counted.nonzero()[0].tolist())
    activations[1][*at, 30] = value

    dense, sparse = (scan_all(blocks, activations, sparse=s) for s in (False, True))

    assert sparse.statistics.nonfinite.nonzero().flatten().tolist() == [30]
    others = np.arange(UNITS) != 30
    for one, wanted in zip(of_units(sparse), of_units(dense), strict=True):
        assert one[others].tobytes() == wanted[others].tobytes()


@pytest.mark.parametrize("kernels", ["cpu", "reference"])
def test_only_what_is_active_is_kept_where_that_is_asked_for(kernels: str) -> None:
    blocks = random_blocks(6)
    activations = sparse_activations(blocks, 0.01, seed=6)
    every = scan_all(blocks, activations, sparse=True, kernels=kernels)
    sizes = replace(SIZES, active_only=True)

    active = scan_all(blocks, activations, sparse=True, kernels=kernels, sizes=sizes)

    lists, others = active.tails["positive"].top, every.tails["positive"].top
    held = lists.top.keys != EMPTY
    assert (lists.peak[held] > 0).all()
    assert not held[:10].any()
    # Nothing that is active is lost by it.
    assert held.sum() == (others.peak > 0).sum()
    assert (active.tails["negative"].top.top.keys == EMPTY).all()


def test_both_forms_of_the_kernels_keep_the_same_of_what_is_active() -> None:
    blocks = random_blocks(7)
    activations = sparse_activations(blocks, 0.02, seed=7)
    sizes = replace(SIZES, active_only=True)

    fast, plain = (
        scan_all(blocks, activations, sparse=True, kernels=kernels, sizes=sizes)
        for kernels in ("cpu", "reference")
    )

    for tail in TAILS:
        for name, lists in fast.tails[tail].lists.items():
            other = plain.tails[tail].lists[name]
            keys, wanted = (kept.top.keys.sort(1).values for kept in (lists, other))
            assert torch.equal(keys, wanted), (tail, name)
