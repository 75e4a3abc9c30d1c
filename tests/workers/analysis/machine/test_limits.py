from __future__ import annotations

import pytest
import torch

from polyseme.workers.analysis.machine.limits import (
    LARGEST_GPU_BLOCK,
    SMALLEST_GPU_BLOCK,
    Limits,
    gpu_block,
)
from tests.factories import make_card

GIB = 1 << 30


def test_a_cpu_has_its_own_sizes_unless_others_are_wanted() -> None:
    def on_cpu(wanted: Limits) -> Limits:
        return wanted.on(torch.device("cpu"), torch.float32, make_card())

    assert on_cpu(Limits()) == Limits(1024, 32_768)
    assert on_cpu(Limits(block_tokens=64)) == Limits(64, 32_768)
    assert on_cpu(Limits(shard_tokens=500)) == Limits(1024, 500)


@pytest.mark.parametrize(
    ("gib", "neurons", "hidden", "block"),
    [
        (80, 3072, 768, LARGEST_GPU_BLOCK),  # a small model
        (80, 14_336, 4096, 16_384),  # 8 billion parameters
        (24, 14_336, 4096, 4096),
        (1, 14_336, 4096, SMALLEST_GPU_BLOCK),
    ],
)
def test_a_gpus_block_is_by_its_memory_and_the_model(
    gib: int, neurons: int, hidden: int, block: int
) -> None:
    card = make_card(neurons=neurons, hidden_size=hidden)

    assert gpu_block(gib * GIB, torch.bfloat16, card) == block


def test_a_wider_type_has_blocks_of_half_the_size() -> None:
    card = make_card(neurons=14_336, hidden_size=4096)

    assert (
        gpu_block(80 * GIB, torch.float32, card) == gpu_block(80 * GIB, torch.bfloat16, card) // 2
    )
