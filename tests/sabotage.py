"""What goes wrong inside a worker of a test, by the variable SABOTAGE: a JSON object of the names
below.

slow: seconds that each block takes longer; clock: seconds that the process' clock is ahead; once: a
file that, when it is not there yet, is made, and the scan then runs out of memory ("memory"),
finds its device lost ("device") or does not go on ("hang"); gates: a folder for each kind of unit,
or "end" for the end of a job, before which a worker stops: it makes the file JOB.reached there and
waits for one called JOB. A job with {"poison": "raise"} or
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

from polyseme.contract.records.job import Job
from polyseme.workers.analysis import pipeline
from polyseme.workers.analysis.steps import planning
from polyseme.workers.analysis.steps.scan_shard import ShardScan
from polyseme.workers.job_work import JobWork
from polyseme.workers.scheduler import Scheduler


def prepare(environ: Mapping[str, str]) -> None:
    wanted: dict[str, Any] = json.loads(environ.get("SABOTAGE", "{}"))
    if ahead_s := wanted.get("clock"):
        true_time, true_time_ns = time.time, time.time_ns
        time.time = lambda: true_time() + ahead_s
        time.time_ns = lambda: true_time_ns() + int(ahead_s * 1e9)
    if pause_s := wanted.get("slow"):
        ShardScan.run = _slowly(ShardScan.run, pause_s)  # type: ignore[method-assign]
        planning.run_selected = _slowly(planning.run_selected, pause_s)
    for kind, folder in wanted.get("gates", {}).items():
        _set_gate(kind, Path(folder))
    pipeline.scan_shard = _endangered(pipeline.scan_shard, wanted.get("once", {}))


def _slowly(run: Callable[..., None], pause_s: float) -> Any:
    def slow(*given: Any, **options: Any) -> None:
        time.sleep(pause_s)
        run(*given, **options)

    return slow


def _set_gate(kind: str, folder: Path) -> None:
    def wait(job: str) -> None:
        (folder / f"{job}.reached").touch()
        while not (folder / job).exists():
            time.sleep(0.02)

    run, end = JobWork.run, Scheduler._end_well

    def run_gated(self: JobWork, job: Job, unit: str, held: Any) -> Any:
        if unit.partition(":")[0] == kind:
            wait(job.id)
        return run(self, job, unit, held)

    def end_gated(self: Scheduler, job: Job) -> None:
        wait(job.id)
        end(self, job)

    if kind == "end":
        Scheduler._end_well = end_gated  # type: ignore[method-assign]
    else:
        JobWork.run = run_gated  # type: ignore[method-assign]


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
