"""How soon the API answers while a worker is at work.

The whole service runs under `polyseme up` in a folder of its own: Redis, the API as it is shipped
and one worker of one thread. A first job, over HTTP like everything here, makes a result of all
46,080 neurons; a second keeps the worker busy while another process polls it, lists neurons and
reads reports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.corpora import take_texts
from benchmarks.generator import Answers, Load, put_load
from benchmarks.markdown import quantile, table
from benchmarks.stack import HOST, running_stack
from polyseme import Polyseme
from polyseme.commands import samples
from polyseme.contract.files.columns import LISTED
from polyseme.errors import CommandError
from polyseme.records import Job

CORPUS = "benchmark"
PAGE = 100
SEED = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=int, default=20_000, help="of the job whose result is read"
    )
    parser.add_argument(
        "--busy-tokens", type=int, default=400_000, help="of the job that runs meanwhile"
    )
    parser.add_argument("--rate", type=float, default=200.0, help="polls a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of polling")
    parser.add_argument("--connections", type=int, default=16, help="that poll")
    parser.add_argument("--reads", type=int, default=1000, help="pages, and whole reports")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("polyseme-data"),
        help="a data folder, of which the converted model and the logit lens are used; otherwise "
        "they are made",
    )


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name:
        data = _prepare_data(Path(name) / "data", options.data)
        with (
            running_stack(data, samples.MODEL_ID, "--sample") as port,
            Polyseme(f"http://{HOST}:{port}") as client,
        ):
            client.add_corpus(_lines(options.busy_tokens), name=CORPUS)
            done = client.wait(_submit(client, options.tokens))
            if not done.succeeded:
                raise CommandError(f"The job {done.status}: {done.error}")
            busy = _start_busy(client, options.busy_tokens)
            rows = _measure(client, port, done.id, busy.id, options)
            after = client.job(busy.id)
            if after.status == "running":
                client.cancel(busy.id)
            neurons = client.summary(done.id)["neurons"]
    return _report(rows, neurons, busy, after, options)


# The service


def _prepare_data(data: Path, source: Path) -> Path:
    """A data folder with links to what another has already made of the model."""
    for name in ("cache/models", "store/lens"):
        (data / name).parent.mkdir(parents=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, data / name, copy_function=link)
    return data


def link(source: str, target: str) -> None:
    # Files there are never changed in place, only added and removed.
    os.symlink(os.path.abspath(source), target)


def _lines(tokens: int) -> Iterator[bytes]:
    for text in take_texts(tokens):
        yield json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def _submit(client: Polyseme, tokens: int) -> Job:
    tokens_of = {"tokens": {"max_tokens": tokens}, "reuse": False}
    return client.submit({"model": samples.MODEL_ID, "corpus": {"id": CORPUS}} | tokens_of)


def _start_busy(client: Polyseme, tokens: int) -> Job:
    """A job that has begun to scan."""
    job = _submit(client, tokens)
    while job.phase != "scanning":
        if job.status not in ("queued", "running"):
            raise CommandError(f"The job {job.status}: {job.error}")
        time.sleep(0.25)
        job = client.job(job.id)
    return job


# The loads


def _measure(
    client: Polyseme, port: int, done: str, busy: str, options: argparse.Namespace
) -> list[list[str]]:
    base = Load(HOST, port, [f"/v1/jobs/{busy}"], options.connections, options.connections)
    put_load(base)  # the first request of each thread of the API makes its connection to Redis
    polls = replace(base, requests=int(options.rate * options.seconds), rate=options.rate)
    pages = [
        f"/v1/jobs/{done}/neurons?limit={PAGE}&sort={way}{c}" for way in ("", "-") for c in LISTED
    ]
    reports = _report_paths(client, done, options.reads)
    one = replace(base, connections=1)
    return [
        answers_row(f"polls, {options.rate:g}/s asked for", put_load(polls)),
        answers_row(
            f"pages of {PAGE}, a sort order's first",
            put_load(replace(one, paths=pages, requests=len(pages))),
        ),
        answers_row(
            f"pages of {PAGE}, any sort order",
            put_load(replace(one, paths=shuffled(pages), requests=options.reads)),
        ),
        answers_row("whole reports", put_load(replace(one, paths=reports, requests=options.reads))),
    ]


def shuffled(paths: list[str]) -> list[str]:
    return random.Random(SEED).sample(paths, len(paths))


def _report_paths(client: Polyseme, job: str, count: int) -> list[str]:
    """Neurons drawn from the whole model."""
    model = client.model(samples.MODEL_ID)
    assert model.layers is not None
    assert model.neurons is not None
    rng = random.Random(SEED)
    draw: Callable[[int], int] = rng.randrange
    return [
        f"/v1/jobs/{job}/neurons/{draw(model.layers)}/{draw(model.neurons)}" for _ in range(count)
    ]


# The report


def answers_table(rows: list[list[str]]) -> str:
    """rows: of `answers_row`."""
    return table(
        ["", "answers", "a second", "p50, ms", "p99, ms", "max, ms", "KiB each", "other answers"],
        rows,
    )


def answers_row(name: str, answers: Answers) -> list[str]:
    count = len(answers.ms)
    times = [f"{quantile(answers.ms, share):.1f}" for share in (0.5, 0.99, 1.0)]
    size = f"{answers.size / max(count, 1) / 1024:.1f}"
    others = ", ".join(f"{n} x {status}" for status, n in answers.others.items()) or "none"
    return [name, f"{count:,}", f"{count / answers.seconds:.0f}", *times, size, others]


def _report(
    rows: list[list[str]],
    neurons: int,
    busy: Job,
    after: Job,
    options: argparse.Namespace,
) -> str:
    done = after.progress.tokens_done - busy.progress.tokens_done
    return "\n\n".join(
        [
            "## API",
            f"One gunicorn process as `polyseme up` starts it, one worker of one thread, all on "
            f"this machine with the "
            f"load. The result has {neurons:,} neurons of {options.tokens:,} tokens. Polls come "
            f"over "
            f"{options.connections} connections and count from when they were due; pages and "
            f"reports come one after "
            f"another. Meanwhile the worker told of {done:,} more tokens; its job was "
            f"{after.status} in phase "
            f"{after.phase} at the end.",
            answers_table(rows),
        ]
    )
