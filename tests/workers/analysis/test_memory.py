"""How much memory a process keeps. Each in one of its own, as the heap's settings are the process'."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A freed array of 24 MiB raises glibc's own limit; those of 4 MiB between small ones that stay are then kept.
_FRAGMENT = """
import re
from contextlib import nullcontext
import numpy as np
from workers.analysis.memory import returning_large_arrays
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
np.ones(3 << 20); before = resident()
large, small = [], []
with {within}():
    for _ in range(50):
        large.append(np.ones(1 << 19)); small.append(np.ones(1 << 14))
    del large
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_large_arrays_go_back_to_the_system_when_they_are_freed() -> None:
    left_alone, returning = (_run(_FRAGMENT.format(within=w)) for w in ("nullcontext", "returning_large_arrays"))

    assert returning < 20  # MiB, of 200
    assert left_alone > returning + 50


def _run(program: str) -> int:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(ended.stdout)
