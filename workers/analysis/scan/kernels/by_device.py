"""Which kernels a device has: chosen once, when a scan begins."""

from __future__ import annotations

import torch

from polyseme.workers.analysis.scan.kernels import cpu, reference
from polyseme.workers.analysis.scan.kernels.interface import Kernels


def choose_kernels(device: torch.device | str) -> Kernels:
    """Those of the device where they work, else plain torch."""
    kind = torch.device(device).type
    if kind == "cpu":
        return cpu
    if kind == "cuda":
        # Triton is there with torch's CUDA build alone.
        from polyseme.workers.analysis.scan.kernels import gpu, gpu_trial

        if gpu_trial.kernels_work(torch.device(device)):
            return gpu
    return reference


def name_of(kernels: Kernels) -> str:
    """For logs and reports: reference, cpu or gpu."""
    return kernels.__name__.rpartition(".")[2]
