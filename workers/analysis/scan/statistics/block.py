"""A block of windows as tensors: what a forward pass reads, and what each place stands for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from polyseme.workers.analysis.corpus.plan import window_priority
from polyseme.workers.analysis.corpus.windows import Windows


class Block:
    """A block of windows on the device, right-padded. B windows, S tokens, T counted tokens."""

    def __init__(
        self, windows: Windows, first_row: int, pad: int, device: torch.device | str
    ) -> None:
        lengths = windows.lengths
        inside = np.arange(lengths.max())[None, :] < lengths[:, None]  # (B, S)
        ids = np.full(inside.shape, pad, np.int64)
        counted = np.zeros(inside.shape, bool)
        ids[inside], counted[inside] = windows.ids, windows.counted
        documents = _at_each(windows.documents, inside)
        self.windows = windows
        # Each token's place in the block laid flat, in the windows' order: (tokens,).
        self.inside_index = torch.from_numpy(np.flatnonzero(inside)).to(device)
        self.ids = torch.from_numpy(ids).to(device)  # (B, S)
        self.inside = torch.from_numpy(inside).to(device)
        self.counted = torch.from_numpy(counted).to(device)
        self.documents = torch.from_numpy(documents).to(device)  # (B, S) int32
        self.lengths = torch.from_numpy(lengths).to(device)  # (B,)
        self.numbers = torch.from_numpy(windows.number.astype(np.int64)).to(device)  # (B,)
        self.priorities = torch.from_numpy(window_priority(windows.number)).to(
            device
        )  # (B,) 31 bits
        self.rows = torch.arange(
            first_row, first_row + len(windows), dtype=torch.int32, device=device
        )
        self.tokens = int(lengths.sum())
        # None when every token counts: then nothing need be masked.
        self.uncounted = None if bool(counted.all()) else ~self.counted
        self.counted_tokens = int(counted.sum())

    @cached_property
    def counted_index(self) -> Tensor:
        """Where in the block, laid flat, the counted tokens are: (T,)."""
        return self.counted.view(-1).nonzero().squeeze(1)

    def at_tokens(self, values: Tensor) -> Tensor:
        """What stands at the block's tokens, in the windows' order: (tokens, D). values: (B, S,
        D).
        """
        return values.flatten(0, 1).index_select(0, self.inside_index)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.numbers, self.priorities, self.lengths, self.rows, self.documents

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What kernels need of a block on the CPU, sharing its memory."""
        return tuple(column.numpy() for column in self.tensors)


def _at_each(flat: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A window column laid out as (B, S), its first value in the padding."""
    laid = np.zeros(inside.shape, flat.dtype)
    laid[inside] = flat
    return np.where(inside, laid, laid[:, :1])
