"""Errors after which a process cannot use its accelerator any more."""

from __future__ import annotations

import torch

EXIT_CODE = 75  # EX_TEMPFAIL: the supervisor starts another process


class DeviceLost(Exception):
    """The process is to end. Its unit has been given back."""


def is_device_lost(error: BaseException) -> bool:
    """Whether CUDA failed in a way that spoils the process' context: everything after it fails too.

    A lack of memory does not. Older versions of torch have no class of their own for it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, torch.AcceleratorError):
            return True
        if (
            isinstance(seen, RuntimeError)
            and not isinstance(seen, torch.OutOfMemoryError)
            and "CUDA error" in str(seen)
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
