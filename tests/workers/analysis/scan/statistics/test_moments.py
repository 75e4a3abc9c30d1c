"""Moments against hand cases and plain float64, and the promise that order changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.scan.statistics.moments import Moments
from tests.workers.analysis.builders import (
    kernels_named,
    needs_triton,
    random_activations,
    random_blocks,
)


def random_parts(seed: int, neurons: int = 6) -> list[torch.Tensor]:
    """Blocks of unequal size, of neurons of very unequal scale."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.linspace(-6, 4, neurons)
    sizes = (1, 300, 17, 64, 5, 128, 33)
    return [(torch.randn(n, neurons, generator=generator) ** 3 + 0.2) * scale for n in sizes]


def moments_of(parts: list[torch.Tensor]) -> Moments:
    found = Moments(parts[0].shape[1])
    for part in parts:
        found.update(part)
    return found


def test_the_moments_of_a_hand_case() -> None:
    found = moments_of([torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [7.0]])]).compute()

    assert found["mean"] == [3.0]
    assert found["std"] == [np.sqrt(5.5)]
    assert found["skewness"] == pytest.approx([13.5 / 5.5**1.5])
    assert found["kurtosis"] == pytest.approx([68.5 / 5.5**2 - 3])


def test_the_moments_are_those_of_plain_float64() -> None:
    parts = random_parts(1)
    values = torch.cat(parts).double().numpy()
    scaled = (values - values.mean(0)) / values.std(0)

    found = moments_of(parts).compute()

    assert found["mean"] == pytest.approx(values.mean(0), rel=1e-5)
    assert found["std"] == pytest.approx(values.std(0), rel=1e-6)
    assert found["skewness"] == pytest.approx((scaled**3).mean(0), rel=1e-5)
    assert found["kurtosis"] == pytest.approx((scaled**4).mean(0) - 3, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_adding_gives_the_same_bits(seed: int) -> None:
    parts = random_parts(2)
    shuffled = [parts[i] for i in np.random.default_rng(seed).permutation(len(parts))]
    whole, again, merged = moments_of(parts), moments_of(shuffled), Moments(6)

    for part in shuffled:
        one = moments_of([part])
        merged.merge(one.count, one.arrays())

    assert whole.count == again.count == merged.count == 548
    expected = whole.compute()
    for other in (again.compute(), merged.compute()):
        assert all(other[name].tobytes() == expected[name].tobytes() for name in expected)


def test_a_neuron_that_never_moves_has_no_shape() -> None:
    found = moments_of([torch.full((200, 3), 0.7) * torch.tensor([1.0, 0.0, -1e4])] * 40).compute()

    assert found["mean"] == pytest.approx([0.7, 0.0, -7000.0], rel=1e-6)
    assert found["std"].tolist() == [0, 0, 0]
    assert np.isnan(found["skewness"]).all()
    assert np.isnan(found["kurtosis"]).all()


def test_sums_far_apart_in_size_are_all_kept() -> None:
    found = Moments(1)
    for addend in (2.0**110, 2.0**-110, -(2.0**110)):
        found.add(1, torch.full((4, 1), addend, dtype=torch.float64))

    assert found.compute()["mean"] == [2.0**-110 / 3]


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-20, 1e-9, 1e12, 1e25, 1e36])
@pytest.mark.parametrize("kernels", ["reference", "cpu", pytest.param("gpu", marks=needs_triton)])
def test_activations_of_any_size_have_the_moments_of_plain_float64(
    scale: float, kernels: str
) -> None:
    device = "cuda" if kernels == "gpu" and torch.cuda.is_available() else "cpu"
    blocks = random_blocks(3, rows=60, device=device)
    # In steps of which the smallest float32 is one.
    drawn = random_activations(blocks, 5, seed=3, step=0.5)
    activations = [(values * 2 * scale).float() for values in drawn]
    statistics = LayerStatistics(5, device)
    for block, values in zip(blocks, activations, strict=True):
        kernels_named(kernels).reduce(block, values, statistics)
    counted = zip(blocks, activations, strict=True)
    plain = torch.cat([values[block.counted] for block, values in counted]).double().cpu().numpy()
    spread = plain.std(0)

    found = statistics.moments.compute()

    assert found["mean"] / scale == pytest.approx(plain.mean(0) / scale, rel=1e-5)
    assert found["std"] / scale == pytest.approx(spread / scale, rel=1e-5)
    shape = (plain - plain.mean(0)) / spread
    assert found["skewness"] == pytest.approx((shape**3).mean(0), abs=1e-4)
    assert found["kurtosis"] == pytest.approx((shape**4).mean(0) - 3, abs=1e-4)


def test_a_block_of_small_activations_beside_one_of_large_ones_is_kept() -> None:
    found = moments_of([torch.full((1, 1), 1e-20), torch.full((1, 1), 1e12)])
    found.merge(1, moments_of([torch.full((1, 1), -1e12)]).arrays())

    assert found.compute()["mean"] == [pytest.approx(1e-20 / 3)]


def test_a_file_has_only_the_digits_that_are_used() -> None:
    found = moments_of([torch.ones(3, 2)]).arrays()

    assert found["digits"].shape == (4, 2)  # one of each power
    assert found["digits"].tolist() == [[3, 3]] * 4


def test_no_tokens_have_no_moments_and_break_nothing() -> None:
    found = Moments(2).compute()

    assert found["mean"].tolist() == [0, 0]
    assert np.isnan(found["kurtosis"]).all()
