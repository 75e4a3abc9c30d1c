"""Tests of `polyseme.workers.analysis.warm_up`."""

from __future__ import annotations

import subprocess
import sys

_CHECK = """
from numba.core.dispatcher import Dispatcher
from polyseme.workers.analysis.senses import grouping, predictions
from polyseme.workers.analysis.contexts import walk_candidates
from polyseme.workers.analysis import warm_up
from polyseme.workers.analysis.scan.kernels import cpu, cpu_lists
from polyseme.workers.analysis.senses import sense_tokens
from polyseme.workers.analysis.senses import vectors
code = warm_up.main()
modules = grouping, predictions, walk_candidates, cpu, cpu_lists, sense_tokens, vectors
found = [f for m in modules for f in vars(m).values() if isinstance(f, Dispatcher)]
called = [f for f in found if f.targetoptions.get("parallel")]
print(code, len(called), [f.__name__ for f in called if not f.signatures])
"""


def test_every_kernel_is_compiled() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHECK], capture_output=True, text=True, timeout=600
    )

    assert done.returncode == 0, done.stderr
    code, count, missing = done.stdout.split(maxsplit=2)
    assert (code, missing.strip()) == ("0", "[]")
    assert int(count) >= 8
