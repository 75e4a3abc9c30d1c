"""A block of windows as tensors: what a forward pass reads, and what each place stands for."""

from __future__ import annotations

from copy import copy
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
        self._count(torch.from_numpy(counted).to(device), counted.sum(1))

    def _count(self, counted: Tensor, of_each: np.ndarray) -> None:
        """counted: (B, S) bool; of_each: (B,) how many of each window."""
        self.counted = counted
        self.counted_tokens = int(of_each.sum())
        # None when every token counts: then nothing need be masked.
        self.uncounted = None if self.counted_tokens == counted.numel() else ~counted
        self._of_each = of_each

    def without(self, tokens: Tensor) -> Block:
        """The same windows, of which these tokens do not count: it may be all of a window.

        tokens: (B, S) bool. Waits for a GPU.
        """
        counted = self.counted & ~tokens
        of_each = counted.sum(1).cpu().numpy()
        if of_each.sum() == self.counted_tokens:
            return self
        fewer = copy(self)
        vars(fewer).pop("counted_index", None)
        fewer._count(counted, of_each)
        return fewer

    def drop_uncounted_windows(self, activations: Tensor) -> tuple[Block, Tensor]:
        """What kernels may read, who take it that a window has a counted token: without the windows
        that have none. activations: (B, S, N).
        """
        if self._of_each.all():
            return self, activations
        places = np.flatnonzero(self._of_each)
        kept = torch.from_numpy(places).to(self.counted.device)
        fewer = copy(self)
        vars(fewer).pop("counted_index", None)
        vars(fewer).pop("arrays", None)
        for name in ("documents", "lengths", "numbers", "priorities", "rows"):
            setattr(fewer, name, getattr(self, name).index_select(0, kept))
        fewer._count(self.counted.index_select(0, kept), self._of_each[places])
        return fewer, activations.index_select(0, kept)

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
