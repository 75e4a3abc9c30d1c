"""How much memory a process keeps.

Each in one of its own, as the heap's settings are the process'.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="about glibc")

_MEASURES = """
import ctypes, json, re, resource
from contextlib import contextmanager, nullcontext
import numpy as np
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays, release_memory
from polyseme.workers.analysis.machine.memory import returning_large_arrays
# PR_SET_THP_DISABLE: huge pages are counted as one fault each
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
@contextmanager
def returning_after_a_pass():
    with keeping_freed_arrays(): np.ones(5 << 20)
    with returning_large_arrays(): yield
@contextmanager
def returning_around_a_pass():
    with returning_large_arrays():
        with keeping_freed_arrays(): np.ones(5 << 20)
        yield
"""

# A freed array of 24 MiB raises glibc's own limit; those of 4 MiB between small ones that stay are
# then kept.
_FRAGMENT = """
np.ones(3 << 20); before = resident()
large, small = [], []
with {within}():
    for _ in range(50):
        large.append(np.ones(1 << 19)); small.append(np.ones(1 << 14))
    del large
print(resident() - before)
"""

# Rounds of arrays as a layer makes them, and one that is larger than glibc would ever put on its
# heap by itself.
_AGAIN = """
before = resident()
with {within}():
    for again in range(2):
        began = faults()
        arrays = [np.ones(3 << 17) for _ in range(20)] + [np.ones(5 << 20)]
        del arrays
    again = faults() - began
release_memory()
print(json.dumps([again, resident() - before]))
"""


def test_large_arrays_go_back_to_the_system_when_they_are_freed() -> None:
    left_alone, returning = (
        _run(_FRAGMENT.format(within=w)) for w in ("nullcontext", "returning_large_arrays")
    )

    assert returning < 20  # MiB, of 200
    assert left_alone > returning + 50


def test_arrays_that_were_made_before_need_no_new_pages_while_freed_ones_are_kept() -> None:
    left_alone, _ = _run(_AGAIN.format(within="nullcontext"))
    keeping, left_mib = _run(_AGAIN.format(within="keeping_freed_arrays"))

    assert keeping < 200  # of the 25,600 pages of 100 MiB
    assert left_alone > 5_000
    assert left_mib < 20


def test_a_forward_pass_after_a_merge_keeps_its_arrays_too() -> None:
    merged = "with returning_large_arrays(): np.ones(3 << 20)\n"

    again, _ = _run(merged + _AGAIN.format(within="keeping_freed_arrays"))

    assert again < 200


@pytest.mark.parametrize("within", ["returning_after_a_pass", "returning_around_a_pass"])
def test_large_arrays_go_back_after_arrays_were_kept(within: str) -> None:
    assert _run(_FRAGMENT.format(within=within)) < 20  # MiB


def _run(program: str) -> Any:
    whole = _MEASURES + program
    ended = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout)
