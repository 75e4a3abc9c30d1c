"""How work is shared out: one worker against two, 64 workers that only sleep, and a small job
behind a large one.

The first is the whole service with a real model and workers of one thread, the same job on each;
times count from submit to success, after a job that made the workers load the model. Beside each
stand bare models of one thread, one and two at once, which show what the machine has to give. The
others are `stub_workers` on a Redis of their own that syncs every write to disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bare_bodies import time_bodies
from benchmarks.corpora import take_texts
from benchmarks.markdown import table
from benchmarks.stack import HOST, running_stack
from benchmarks.stub_workers import Pace, measure_speed, measure_wait
from polyseme import Polyseme
from polyseme.commands import samples
from polyseme.stack.embedded_redis import find_server, server_command, socket_path
from polyseme.stack.stack import answers_ping

PARTS = ("real", "many", "fair")
_SHARD_TOKENS = (
    3000  # of the real job: seconds a shard, so that its end is not a matter of one shard
)
_PHASES = (0.0, 0.5)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS), help="some of the three"
    )
    parser.add_argument("--tokens", type=int, default=30_000, help="of the real job")
    parser.add_argument("--layers", default="0-3", help="of the real job")
    parser.add_argument(
        "--rounds", type=int, default=2, help="of the real job, each on one worker and on two"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("polyseme-data/cache"), help="of converted models"
    )
    parser.add_argument("--workers", type=int, default=64, help="that sleep")
    parser.add_argument("--shards", type=int, default=640, help="that they share")
    parser.add_argument("--shard-s", type=float, default=5.0, help="seconds of each")
    parser.add_argument(
        "--fair-s", type=float, default=2.0, help="seconds of a shard that a small job waits for"
    )


def run(options: argparse.Namespace) -> str:
    parts = {"real": _run_real, "many": _run_many, "fair": _run_fair}
    return "\n\n".join(
        ["## Scale", *(parts[name](options) for name in PARTS if name in options.only)]
    )


def _run_real(options: argparse.Namespace) -> str:
    jobs: dict[int, list[float]] = {1: [], 2: []}
    bodies: dict[int, list[float]] = {1: [], 2: []}
    shards = 0
    for _ in range(options.rounds):
        for count in jobs:
            took, shards = _time_job(count, options)
            jobs[count].append(took)
            bodies[count].append(time_bodies(count, options.cache))
    one, two = (statistics.median(found) for found in jobs.values())
    # Two bodies do twice the work of one.
    ceiling = 2 * statistics.median(bodies[1]) / statistics.median(bodies[2])
    named = [("worker", "", jobs), ("bare model", ", the same work each", bodies)]
    rows = [
        [f"{count} {name}{'s' * (count > 1)}{what}", *(f"{s:.1f}" for s in found)]
        for name, what, seconds in named
        for count, found in seconds.items()
    ]
    rounds = [f"round {i + 1}, s" for i in range(options.rounds)]
    return "\n\n".join(
        [
            f"### Two workers\n\n{samples.MODEL_ID}, layers {options.layers}, {options.tokens:,} "
            f"tokens in {shards} "
            "shards, defaults, one thread a worker; the whole job.",
            table(["", *rounds], rows),
            f"Speed-up, of medians: **{one / two:.2f}**. Two bare models side by side do "
            f"{ceiling:.2f} times what one "
            f"does, so the workers have {one / two / ceiling:.0%} of what the machine gives.",
        ]
    )


def _time_job(workers: int, options: argparse.Namespace) -> tuple[float, int]:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name:
        data, settings = (
            Path(name),
            {
                "POLYSEME_SHARD_TOKENS": str(_SHARD_TOKENS),
                "POLYSEME_CACHE": str(options.cache.resolve()),
            },
        )
        samples.prepare_catalogue(data / "models.toml", required=True)
        with (
            running_stack(data, samples.MODEL_ID, "--workers", str(workers), **settings) as port,
            Polyseme(f"http://{HOST}:{port}") as client,
        ):
            lines = (
                json.dumps({"text": text}).encode() + b"\n" for text in take_texts(options.tokens)
            )
            client.add_corpus(lines, name="texts")
            while client.readiness()["workers"] < workers:
                time.sleep(0.1)
            _run_job(
                client, 4 * _SHARD_TOKENS * workers, options.layers
            )  # each worker loads the model
            return _run_job(client, options.tokens, options.layers)


def _run_job(client: Polyseme, tokens: int, layers: str) -> tuple[float, int]:
    request: dict[str, Any] = {"model": samples.MODEL_ID, "corpus": {"id": "texts"}, "reuse": False}
    began = time.perf_counter()
    job = client.submit(request | {"neurons": {"layers": layers}, "tokens": {"max_tokens": tokens}})
    ended = client.wait(job)
    if not ended.succeeded:
        raise RuntimeError(f"the job {ended.status}: {ended.error}")
    return time.perf_counter() - began, ended.progress.shards.total or 0


def _run_many(options: argparse.Namespace) -> str:
    pace = Pace(scan_s=options.shard_s, other_s=0.01)
    with running_redis() as (url, store):
        one = measure_speed(url, store, workers=1, shards=5, pace=pace)
    with running_redis() as (url, store):
        many = measure_speed(url, store, workers=options.workers, shards=options.shards, pace=pace)
    return "\n\n".join(
        [
            f"### {options.workers} workers\n\nOne job whose shards take {options.shard_s} s of "
            f"sleep each; the whole "
            "job, its other steps 0.01 s each.",
            table(
                ["", "shards", "shards a second"],
                [
                    ["1 worker", 5, f"{one:.3f}"],
                    [f"{options.workers} workers", options.shards, f"{many:.3f}"],
                ],
            ),
            f"Speed-up: **{many / one:.1f}**.",
        ]
    )


def _run_fair(options: argparse.Namespace) -> str:
    pace = Pace(scan_s=options.fair_s, other_s=0.01, jitter=0.1)
    cases = [(priority, workers) for priority in ("normal", "high") for workers in (1, 3)]
    rows = []
    for priority, workers in cases:
        times = []
        for phase in _PHASES:
            with running_redis() as (url, store):
                times.append(
                    measure_wait(
                        url, store, workers=workers, pace=pace, priority=priority, phase=phase
                    )
                )
        rows.append(
            [f"{priority}, {workers} worker{'s' * (workers > 1)}", *(f"{t:.2f}" for t in times)]
        )
    return "\n\n".join(
        [
            "### A small job behind a large one\n\nA job of one shard behind one of 200 of "
            "another tenant: shard-times "
            f"of {options.fair_s} s (10 % more or less) from submit to success, by how far a "
            f"worker was in a shard of "
            "the large one at the submit.",
            table(["", *(f"{phase:.0%}" for phase in _PHASES)], rows),
        ]
    )


@contextmanager
def running_redis() -> Iterator[tuple[str, str]]:
    """The URL of a server of its own, as `polyseme up` runs it, and a folder for a store."""
    with (
        tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name,
        socket_path(Path(name)) as path,
    ):
        command = server_command(find_server(), path, Path(name))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                while not answers_ping(f"unix://{path}"):
                    time.sleep(0.05)
                yield f"unix://{path}?db=0", f"{name}/store"
            finally:
                process.terminate()
