"""How many cores torch and the compiled kernels share."""

from __future__ import annotations

import numba
import torch


def set_threads(count: int) -> None:
    """For this process:

    `count` threads for torch, 0 leaving its own choice, and as many for the kernels.
    """
    count = count or torch.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(
        count
    )  # last: numba starts OpenMP with as many threads as there are cores, and torch asks it
