"""Which errors spoil a process' CUDA context."""

from __future__ import annotations

import pytest
import torch

from polyseme.contract.errors import ModelLoadError
from polyseme.workers.device import is_device_lost


def caused_by(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as e:
            raise ModelLoadError("its weights cannot be read") from e
    except ModelLoadError as e:
        return e


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (caused_by(RuntimeError("CUDA error: unspecified launch failure")), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (MemoryError(), False),
    ],
)
def test_only_errors_of_the_device_itself_spoil_it(error: Exception, lost: bool) -> None:
    assert is_device_lost(error) is lost
