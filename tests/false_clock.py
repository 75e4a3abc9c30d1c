"""A Redis whose clock steps: Debian's libfaketime lies to its process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class FalseClock:
    def __init__(self, folder: Path) -> None:
        """Skips the test where libfaketime is not installed."""
        found = sorted(Path("/").glob(_LIBRARIES.lstrip("/")))
        if not found:
            pytest.skip("needs libfaketime: apt-get install faketime")
        self._file = folder / "clock"
        self._file.write_text("+0")
        self.environ = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Sets it so far ahead of the true time; back, below 0."""
        self._file.write_text(f"{seconds:+d}")
        time.sleep(0.2)
