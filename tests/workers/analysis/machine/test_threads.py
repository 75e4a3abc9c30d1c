from __future__ import annotations

import os
import subprocess
import sys

import pytest

# numba starts OpenMP once a process, so each question needs a process of its own.
_ASK = """
import numba, torch
from polyseme.workers.analysis.machine.threads import set_threads
set_threads({count})
print(torch.get_num_threads(), numba.get_num_threads())
"""


def _threads(count: int, **environ: str) -> list[int]:
    command = [sys.executable, "-c", _ASK.format(count=count)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environ}
    )
    return [int(n) for n in done.stdout.split()]


@pytest.mark.parametrize("count", [1, 2])
def test_torch_and_the_kernels_keep_to_the_number_asked_for(count: int) -> None:
    assert _threads(count, NUMBA_NUM_THREADS="4") == [count, count]


def test_torchs_own_choice_is_kept() -> None:
    assert _threads(0, NUMBA_NUM_THREADS="4", OMP_NUM_THREADS="2") == [2, 2]
