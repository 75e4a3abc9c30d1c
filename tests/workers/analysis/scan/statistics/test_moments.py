"""Moments against hand cases and plain float64, and the promise that order changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polyseme.workers.analysis.scan.statistics.moments import Moments


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
        merged.merge(one.count, one.digits)

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


def test_no_tokens_have_no_moments_and_break_nothing() -> None:
    found = Moments(2).compute()

    assert found["mean"].tolist() == [0, 0]
    assert np.isnan(found["kurtosis"]).all()
