"""A contender that needs no model: it prints, writes what it is told to, and finds one neuron's
maximum.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.peers.protocol import Maxima, Task, Way, serve


def load(task: Task) -> Mapping[str, Way]:
    sys.stdout.write("a library that greets its user\n")

    def write(folder: Path) -> Maxima:
        sys.stdout.write("and goes on talking\n")
        held = np.ones(task.tokens << 20, np.uint8)
        (folder / "part").mkdir()
        (folder / "part/file").write_bytes(bytes(held[:1000]))
        return lambda: np.array([[held.max()]])

    def fail(folder: Path) -> Maxima:
        raise ValueError("no such neuron")

    return {"write": write, "fail": fail}


if __name__ == "__main__":
    serve(load)
