"""How much runs at once, and how much in one go, where nobody has said so: by the device and the
model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

import torch

from polyseme.contract.records.model_card import ModelCard

CPU_BLOCK: Final = 1024  # its activations are still in the cache when the next layer reads them
SMALLEST_GPU_BLOCK, LARGEST_GPU_BLOCK = 1024, 32_768
_SHARE = 16  # of a GPU's memory may be taken by a block's activations: one part in so many
CPU_SHARD: Final = 32_768  # about a minute on two cores
GPU_SHARD: Final = 1_048_576  # seconds; each writes lists of every neuron


@dataclass(frozen=True)
class Limits:
    """How the work is cut; 0 leaves it to the device.

    `block_tokens` is part of the result's identity, `shard_tokens`
    is not."""

    block_tokens: int = 0
    shard_tokens: int = 0

    def on(self, device: torch.device, dtype: torch.dtype, card: ModelCard) -> Limits:
        """With no 0 left."""
        on_gpu = device.type == "cuda"
        return replace(
            self,
            block_tokens=self.block_tokens
            or (gpu_block(device_memory(device), dtype, card) if on_gpu else CPU_BLOCK),
            shard_tokens=self.shard_tokens or (GPU_SHARD if on_gpu else CPU_SHARD),
        )


BY_DEVICE: Final = Limits()


def gpu_block(memory: int, dtype: torch.dtype, card: ModelCard) -> int:
    """Tokens of a block, a power of two, by the GPU's memory in bytes: not what is free, that
    others may use.
    """
    # A layer's neurons before and after they are gated, and beside them some arrays of the residual
    # stream's width.
    token = dtype.itemsize * (4 * card.neurons + 12 * card.hidden_size)
    room = max(memory // _SHARE // token, 1)
    return min(max(1 << (room.bit_length() - 1), SMALLEST_GPU_BLOCK), LARGEST_GPU_BLOCK)


def device_memory(device: torch.device) -> int:
    """Bytes: a GPU's, else the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
