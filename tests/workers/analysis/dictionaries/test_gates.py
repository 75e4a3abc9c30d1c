"""What makes latents of pre-activations, beside slow float64 references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyseme.workers.analysis.dictionaries.gates import Gate, Gated, GroupMax, JumpRelu, Relu, TopK
from tests.workers.analysis.dictionaries.builders import noise

M = 12


def keep_largest(row: list[float], k: int) -> list[float]:
    """By hand: sorted by value, of equal ones the first."""
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
    return [max(row[i], 0.0) if i in order else 0.0 for i in range(len(row))]


# Few values, so that many are equal.
rows = st.lists(st.sampled_from([-1.5, -0.5, 0.0, 0.5, 1.0, 2.0]), min_size=M, max_size=M)


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, M))
def test_of_equal_ones_a_top_k_keeps_those_with_the_lowest_index(row: list[float], k: int) -> None:
    assert TopK(k)(torch.tensor([row, row])).tolist() == [keep_largest(row, k)] * 2


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_a_group_keeps_its_first_largest(row: list[float], k: int) -> None:
    size = M // k
    expected = [v for g in range(k) for v in keep_largest(row[g * size : (g + 1) * size], 1)]

    assert GroupMax(k)(torch.tensor([row])).tolist() == [expected]


def test_a_jump_is_over_its_threshold_not_at_it() -> None:
    gate = JumpRelu(torch.tensor([1.0, 1.0, 1.0, -1.0]))

    assert gate(torch.tensor([[0.9, 1.0, 1.1, -0.5]])).tolist() == [[0, 0, pytest.approx(1.1), 0]]


def test_a_gate_and_its_magnitude_have_biases_of_their_own() -> None:
    pre = noise(50, M, seed=1, scale=1)
    gate, magnitude, factor = (noise(M, seed=n) for n in (2, 3, 4))

    found = Gated(gate, magnitude, factor.exp())(pre)

    wide = pre.double()
    expected = ((wide + gate) > 0) * (wide * factor.double().exp() + magnitude).relu()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


GATES: dict[str, Gate] = {
    "relu": Relu(),
    "gated": Gated(torch.zeros(M), torch.zeros(M), torch.ones(M)),
    "jump": JumpRelu(torch.zeros(M)),
    "top": TopK(3),
    "groups": GroupMax(3),
}


@pytest.mark.parametrize("name", GATES)
def test_no_latent_is_below_0_and_what_came_in_stays(name: str) -> None:
    pre = noise(40, M, seed=3, scale=2)
    kept: Tensor = pre.clone()

    assert (GATES[name](pre) >= 0).all()
    assert torch.equal(pre, kept)


@pytest.mark.parametrize("name", ["relu", "gated", "jump"])
def test_what_is_no_number_stays_none(name: str) -> None:
    pre = torch.ones(1, M)
    pre[0, 5] = torch.nan

    assert GATES[name](pre)[0].isnan().tolist() == [n == 5 for n in range(M)]
