"""The process that reads weights: one object in, one out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from polyseme.commands.terminal import FAILED, REFUSED
from polyseme.errors import CommandError
from polyseme.stack.child import SAFE_PYTHON

_MODULE = "polyseme.workers.analysis.dictionary_commands"


def run_apart(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the worker's sources make of a request. Raises CommandError with their sentence."""
    if find_spec("torch") is None:
        raise CommandError(
            "This needs torch, which the client alone does not have: pip install "
            "'polyseme[worker]'",
            exit_code=FAILED,
        )
    done = subprocess.run(
        [*SAFE_PYTHON, "-m", _MODULE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise CommandError(lines[-1], exit_code=REFUSED)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
