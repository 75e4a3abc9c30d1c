"""What goes wrong inside a worker of a test, by the variable SABOTAGE: a JSON object of the names
below.

slow: seconds that each block takes longer; clock: seconds that the process' clock is ahead; once: a
file that, when it is not there yet, is made, and the scan then runs out of memory ("memory"),
finds its device lost ("device") or does not go on ("hang"). A job with {"poison": "raise"} or
{"poison": "kill"} in its metadata fails in its second shard, wherever it runs.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from polyseme.workers.analysis import pipeline
from polyseme.workers.analysis.steps import planning
from polyseme.workers.analysis.steps.scan_shard import ShardScan


def prepare(environ: Mapping[str, str]) -> None:
    wanted: dict[str, Any] = json.loads(environ.get("SABOTAGE", "{}"))
    if ahead_s := wanted.get("clock"):
        true_time, true_time_ns = time.time, time.time_ns
        time.time = lambda: true_time() + ahead_s
        time.time_ns = lambda: true_time_ns() + int(ahead_s * 1e9)
    if pause_s := wanted.get("slow"):
        ShardScan.run = _slowly(ShardScan.run, pause_s)  # type: ignore[method-assign]
        planning.run_selected = _slowly(planning.run_selected, pause_s)
    pipeline.scan_shard = _endangered(pipeline.scan_shard, wanted.get("once", {}))


def _slowly(run: Callable[..., None], pause_s: float) -> Any:
    def slow(*given: Any, **options: Any) -> None:
        time.sleep(pause_s)
        run(*given, **options)

    return slow


def _endangered(scan: Callable[..., int], once: Mapping[str, str]) -> Any:
    def scan_shard(analysis: Any, model: Any, shard: int, **options: Any) -> int:
        if shard == 1:
            _poison(analysis.request.metadata.get("poison"))
        for kind, flag in once.items():
            if not Path(flag).exists():
                Path(flag).touch()
                _HARM[kind]()
        return scan(analysis, model, shard, **options)

    return scan_shard


def _poison(kind: str | None) -> None:
    if kind == "raise":
        raise ArithmeticError("this shard cannot be computed")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def _run_out_of_memory() -> None:
    """For real: the limit holds, and is taken away again afterwards."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), before[1]))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _lose_device() -> None:
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


def _hang() -> None:
    threading.Event().wait()


_HARM: dict[str, Callable[[], None]] = {
    "memory": _run_out_of_memory,
    "device": _lose_device,
    "hang": _hang,
}
