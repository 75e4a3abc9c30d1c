"""What the API does under many jobs and many polls, and whether its memory grows.

The whole service runs under `polyseme up` in a folder of its own, with several API processes and
one worker of one thread, on a tiny random model, so that the worker takes little of the machine.
Another process submits all jobs at once, then polls them all at a rate, each time with the tag of
its last answer. Once the jobs have ended, polls, pages, reports, exports and more submits come at
once, each at a rate; then it polls more slowly for long. The memory of the
API's processes is read all the time: until then it grows by what a process keeps of each result,
and after that it should not grow at all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any

from benchmarks.generator import Answers, Load, put_load
from benchmarks.machine import resident
from benchmarks.markdown import quantile, table
from benchmarks.stack import HOST, running_stack
from polyseme import Polyseme
from tests.factories import make_texts
from tests.tiny_models import save_model

MODEL = "tiny"
CORPUS = "benchmark"
_CONNECTIONS = 32
_SAMPLE_S = 5.0
_WARM_S = (
    30.0  # of the slow polls, in which each process still reads some results for the first time
)
_END_S = 600.0  # for the jobs to end once the polling has
_ALLOWED = ("429", "503")  # with Retry-After; the generator names one without it otherwise


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=200, help="submitted at once")
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--rate", type=float, default=1000.0, help="polls a second, in total")
    parser.add_argument("--seconds", type=float, default=60.0, help="of them")
    parser.add_argument(
        "--mixed-seconds", type=float, default=120.0, help="of everything at once; 0: left out"
    )
    parser.add_argument(
        "--soak-rate", type=float, default=200.0, help="polls a second once the jobs have ended"
    )
    parser.add_argument("--soak-seconds", type=float, default=600.0, help="of these")
    parser.add_argument(
        "--documents", type=int, default=60, help="of the corpus, about 30 tokens each"
    )


@dataclass
class Memory:
    """Bytes resident of each API process over time."""

    seconds: list[float] = field(default_factory=list)
    resident: dict[int, list[int]] = field(
        default_factory=dict
    )  # by process id, one for each of `seconds`
    ended_s: float = 0.0  # when the jobs had ended


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name:
        data = prepare_data(Path(name) / "data")
        catalogue = (
            "--catalogue",
            str(data / "models.toml"),
        )  # named, so that the sample model is not added to it
        variables = {"WEB_CONCURRENCY": str(options.processes)}
        with (
            running_stack(data, MODEL, *catalogue, **variables) as port,
            Polyseme(f"http://{HOST}:{port}") as client,
        ):
            client.add_corpus(corpus_lines(options.documents), name=CORPUS)
            with _watching_memory(_api_processes(data)) as memory:
                submits = put_load(_submits(port, options.jobs))
                jobs = [job.id for job in client.jobs()]
                fast = put_load(_polls(port, jobs, options.rate, options.seconds))
                _await_ends(client)
                mixed = _put_mixed(port, jobs, options.mixed_seconds)
                ended = _await_ends(client)
                memory.ended_s = memory.seconds[-1]
                slow = put_load(_polls(port, jobs, options.soak_rate, options.soak_seconds))
    loads = {
        f"{options.jobs} submits at once": submits,
        f"polls, {options.rate:g}/s asked for": fast,
        **mixed,
        f"polls, {options.soak_rate:g}/s asked for": slow,
    }
    return _report(loads, memory, ended, options)


# The service


def prepare_data(data: Path) -> Path:
    data.mkdir(parents=True)
    entry = save_model("llama", data / "model", num_hidden_layers=1)
    (data / "models.toml").write_text(
        f'[[models]]\nid = "{MODEL}"\npath = "{entry.location}"\n', encoding="utf-8"
    )
    return data


def corpus_lines(documents: int) -> Iterator[bytes]:
    for text in make_texts(documents):
        yield json.dumps({"text": text}).encode() + b"\n"


def _api_processes(data: Path) -> list[int]:
    """gunicorn's children, which answer, and not their parent, which waits."""
    parents = {
        p: parent
        for p, parent in map(_read_process, _numbered(Path("/proc")))
        if p and _is_api(p, data)
    }
    return [p for p, parent in parents.items() if parent in parents]


def _numbered(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if p.name.isdigit())


def _read_process(folder: Path) -> tuple[int, int]:
    """Its id and its parent's; 0 for one that has ended."""
    try:
        status = (folder / "status").read_text()
    except OSError:
        return 0, 0
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(folder.name), int(fields["PPid"])


def _is_api(process: int, data: Path) -> bool:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        environ = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    store = f"POLYSEME_STORE={data.resolve()}/store".encode()
    return b"polyseme.stack.serve" in command and store in environ


def _await_ends(client: Polyseme) -> Counter[str]:
    """The jobs by status, once all have ended or the time is up."""
    deadline = time.monotonic() + _END_S
    while True:
        counts = Counter(job.status for job in client.jobs())
        if not counts["queued"] + counts["running"] or time.monotonic() > deadline:
            return counts
        time.sleep(2)


# The loads


def _submits(port: int, jobs: int) -> Load:
    return Load(HOST, port, ["/v1/jobs"], jobs, _CONNECTIONS, body=json.dumps(submit_body()))


def submit_body() -> dict[str, Any]:
    return {
        "model": MODEL,
        "corpus": {"id": CORPUS},
        "contexts": {"window": 32, "top_k": 4},
        "reuse": False,
    }


def _polls(port: int, jobs: list[str], rate: float, seconds: float) -> Load:
    paths = [f"/v1/jobs/{job}" for job in jobs]
    return Load(HOST, port, paths, int(rate * seconds), _CONNECTIONS, rate, conditional=True)


def _put_mixed(port: int, jobs: list[str], seconds: float) -> dict[str, Answers]:
    """What each kind of request met while all came at once; nothing for no seconds.

    jobs: that have succeeded.
    """
    if not seconds:
        return {}
    loads = {
        f"meanwhile {name}, {rate:g}/s": Load(
            HOST, port, paths(jobs), int(rate * seconds), _CONNECTIONS // 4, rate, body
        )
        for name, (rate, paths, body) in _MIXED.items()
    }
    with ThreadPoolExecutor(len(loads)) as pool:
        return dict(zip(loads, pool.map(put_load, loads.values()), strict=True))


def _below_jobs(*paths: str) -> Callable[[list[str]], list[str]]:
    return lambda jobs: [f"/v1/jobs/{job}{path}" for path in paths for job in jobs]


# The rate, a second; which paths; and the body of a POST.
_MIXED: dict[str, tuple[float, Callable[[list[str]], list[str]], str | None]] = {
    "polls": (100.0, _below_jobs(""), None),
    "pages": (40.0, _below_jobs("/neurons?limit=50", "/neurons?limit=50&sort=-max"), None),
    "reports": (40.0, _below_jobs("/neurons/0/1", "/neurons/0/7"), None),
    "exports": (
        2.0,
        _below_jobs("/export?format=ndjson", "/export?format=parquet"),
        None,
    ),
    "submits": (2.0, lambda jobs: ["/v1/jobs"], json.dumps(submit_body())),
}


# Memory


@contextmanager
def _watching_memory(processes: list[int]) -> Iterator[Memory]:
    memory, over = Memory(resident={p: [] for p in processes}), threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while True:
            memory.seconds.append(time.monotonic() - began)
            for process, sizes in memory.resident.items():
                sizes.append(resident(process))
            if over.wait(_SAMPLE_S):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    yield memory
    over.set()
    thread.join()


def _slope(seconds: list[float], sizes: list[int]) -> float:
    """Bytes a second, by least squares. NaN with fewer than two samples."""
    if len(seconds) < 2:
        return float("nan")
    return linear_regression(seconds, sizes).slope


# The report


def _report(
    loads: dict[str, Answers], memory: Memory, ended: Counter[str], options: argparse.Namespace
) -> str:
    header = ["", "answers", "a second", "p50, ms", "p99, ms", "max, ms", "by status", "others"]
    bad = sum(n for a in loads.values() for status, n in a.others.items() if status not in _ALLOWED)
    states = ", ".join(f"{n} {status}" for status, n in sorted(ended.items()))
    return "\n\n".join(
        [
            "## Load",
            f"{options.processes} API processes and one worker of one thread, all on this "
            f"machine with the load, which "
            f"comes over {_CONNECTIONS} connections. Polls count from when they were due. "
            f"Answers that a client may "
            f"not expect (neither good, nor 429 or 503 with Retry-After): {bad}. The jobs at the "
            f"end: {states}.",
            table(header, [_row(name, answers) for name, answers in loads.items()]),
            f"Resident memory of the API's processes, every {_SAMPLE_S:g} s. All jobs had ended "
            f"after "
            f"{memory.ended_s:.0f} s, and each process kept what it had read of their results; "
            f"the rest is of "
            f"{memory.seconds[-1] - memory.ended_s - _WARM_S:.0f} s of polls from {_WARM_S:g} s "
            f"later, with the slope.",
            table(
                ["process", "first, MiB", "then", "least", "most", "last", "growth, MiB/h"],
                _sizes(memory),
            ),
        ]
    )


def _row(name: str, answers: Answers) -> list[str]:
    times = [f"{quantile(answers.ms, share):.1f}" for share in (0.5, 0.99, 1.0)]
    count = len(answers.ms)
    return [
        name,
        f"{count:,}",
        f"{count / answers.seconds:.0f}",
        *times,
        _counts(answers.good),
        _counts(answers.others) or "none",
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} x {status}" for status, n in sorted(counts.items()))


def _sizes(memory: Memory) -> Iterator[list[str]]:
    warm = sum(s < memory.ended_s + _WARM_S for s in memory.seconds)
    for number, sizes in enumerate(memory.resident.values(), 1):
        after = sizes[warm:] or sizes[-1:]
        shown = [
            f"{size / 2**20:.1f}"
            for size in (sizes[0], after[0], min(after), max(after), sizes[-1])
        ]
        yield [
            str(number),
            *shown,
            f"{_slope(memory.seconds[warm:], sizes[warm:]) * 3600 / 2**20:.1f}",
        ]
