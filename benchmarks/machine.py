"""The machine that a figure comes from, in a line."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> str:
    load = " ".join(f"{n:.2f}" for n in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numba"))
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_cpu_name()}, {cores} cores, {_memory_gb():.0f} GB; load average at the start {load}; "
        f"Python {platform.python_version()}, {packages}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    )


def resident(process: int) -> int:
    """Bytes; 0 for a process that has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_name() -> str:
    found = re.search(
        r"(?m)^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8")
    )
    return found[1] if found else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
