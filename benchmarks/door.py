"""Whether anybody at the door holds up the others, or makes the API keep memory.

Redis and one API process as it is shipped, anew for each kind of attack. Other processes hold 64
connections open and do one harmful thing on each, again and again; with a key where that is needed,
of a tenant with the default quotas. Meanwhile another tenant submits jobs and polls, and somebody
asks whether the API lives, each time on a connection of its own. No worker runs. The command ends
with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.door_attacks import KINDS, Attack, describe
from benchmarks.generator import Connection
from benchmarks.machine import resident
from benchmarks.markdown import quantile, table
from benchmarks.stack import HOST, free_port
from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Store
from polyseme.contract.records.tenants import Tenant
from polyseme.contract.settings import Settings
from polyseme.errors import CommandError
from tests.factories import MODEL, add_corpus, make_body, make_card
from tests.servers import RedisServer

_PROCESSES = 2  # that attack
_SETTLE_S = 2.0  # from the first connection to the first measurement
_PAUSE_S = 0.05  # between two measurements of one kind
_START_S = 60.0
_NOTHING = "nothing"
_LIVE, _SUBMIT, _POLL = "/livez", "submit", "poll"
_BARS_S = {_LIVE: 0.5, _SUBMIT: 1.0, _POLL: 1.0}  # of the 99th percentile
_BAR_BYTES = 64 << 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", nargs="+", choices=[_NOTHING, *KINDS], default=[_NOTHING, *KINDS], metavar="KIND"
    )
    parser.add_argument("--connections", type=int, default=64, help="that attack, at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, a kind")
    parser.add_argument(
        "--later", type=float, default=60.0, help="seconds until memory is read once more"
    )


@dataclass
class Row:
    kind: str
    seconds: dict[str, list[float]] = field(default_factory=dict)  # by what was asked
    others: Counter[str] = field(default_factory=Counter)  # answers other than 200 and 202
    attack: Counter[str] = field(default_factory=Counter)  # what the attackers got
    before: int = 0  # bytes resident of the API, with the processes that read uploads
    peak: int = 0
    later: int = 0

    def missed(self) -> list[str]:
        """The bars that are."""
        slow = [
            f"{name} p99 {quantile(times, 0.99):.2f} s"
            for name, times in self.seconds.items()
            if not quantile(times, 0.99) < _BARS_S[name]
        ]
        grown = self.later - self.before
        kept = [f"{grown / 2**20:.0f} MiB kept"] if grown > _BAR_BYTES else []
        refused = [f"{n} x {status}" for status, n in self.others.items()]
        return [*slow, *kept, *refused]


def run(options: argparse.Namespace) -> str:
    rows, waiting = [], []
    for kind in options.kind:
        print(f"  {kind} …", file=sys.stderr, flush=True)
        row, later = _measure(kind, options)
        rows.append(row)
        waiting.append(later)
    for later in waiting:
        later.join()
    report = _report(rows, options)
    if any(row.missed() for row in rows):
        print(report)
        raise SystemExit(1)
    return report


def _measure(kind: str, options: argparse.Namespace) -> tuple[Row, threading.Thread]:
    """And what reads the memory later, while the next kind is measured."""
    row = Row(kind)
    with ExitStack() as stack:
        api = stack.enter_context(_running_api())
        _ask_repeatedly(api, 2.0)  # each thread has its connection to Redis
        row.before = api.resident()
        with _attacking(api, row, options), _watching(api, row):
            time.sleep(_SETTLE_S)
            row.seconds, row.others = _ask_repeatedly(api, options.seconds)
        running = stack.pop_all()

    def look_later() -> None:
        with running:
            time.sleep(options.later)
            row.later = api.resident()

    later = threading.Thread(target=look_later)
    later.start()
    return row, later


# The service


@dataclass(frozen=True)
class Api:
    port: int
    process: int  # gunicorn's, whose child answers
    victim: str  # a key that may read and submit
    attacker: str  # one that may submit

    def resident(self) -> int:
        """Bytes of all that it has started."""
        return sum(map(resident, _descendants(self.process)))


@contextmanager
def _running_api() -> Iterator[Api]:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name, RedisServer.running() as db:
        folder = Path(name)
        (folder / "models.toml").write_text(f'[[models]]\nid = "{MODEL}"\npath = "x"\n')
        settings = Settings(
            redis_url=db.url,
            store=str(folder / "store"),
            catalogue=str(folder / "models.toml"),
            cache=str(folder / "cache"),
        )
        victim, attacker = _fill(settings)
        port = free_port()
        command = [sys.executable, "-P", "-m", "polyseme.stack.serve", "--bind", f"{HOST}:{port}"]
        environ = dict(os.environ) | settings.to_environ()
        with (
            open(folder / "api.log", "wb") as log,
            subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
        ):
            try:
                _await_api(port, folder / "api.log")
                yield Api(port, process.pid, victim, attacker)
            finally:
                process.terminate()


def _fill(settings: Settings) -> tuple[str, str]:
    """A model, a corpus, and the keys of two tenants; of the first there are no quotas of jobs and
    requests, as their number is not what is measured.
    """
    board = Board.connect(settings.redis_url)
    board.registry.put_card(make_card())
    add_corpus(board, Store(settings.store))
    board.accounts.put_tenant(Tenant("default", active_jobs=0, requests_per_minute=0))
    victim = board.accounts.create_key("default", ("read", "submit"))[1]
    return victim, board.accounts.create_key("stranger", ("submit",))[1]


def _await_api(port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://{HOST}:{port}/livez", timeout=1)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise CommandError(f"The API does not answer:\n{log.read_text(encoding='utf-8')}")


def _descendants(process: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from _descendants(child)
    except OSError:
        return


# What is measured


def _ask_repeatedly(api: Api, seconds: float) -> tuple[dict[str, list[float]], Counter[str]]:
    """How long each answer took, and those that were none to be expected."""
    requests = {_LIVE: _get(_LIVE), _SUBMIT: _submit(api.victim), _POLL: _poll(api.victim)}
    times: dict[str, list[float]] = {name: [] for name in requests}
    others: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def ask(name: str) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            status = _ask(api.port, requests[name])
            times[name].append(time.monotonic() - began)
            if status not in ("200", "202"):
                others[f"{name} {status}"] += 1
            time.sleep(_PAUSE_S)

    threads = [threading.Thread(target=ask, args=(name,)) for name in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, others


def _ask(port: int, request: bytes) -> str:
    connection = Connection(HOST, port)
    try:
        return connection.ask(request).status
    except OSError as e:
        return type(e).__name__
    finally:
        connection.close()


def _get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}", *fields, "", ""]).encode()


def _poll(key: str) -> bytes:
    return _get("/v1/jobs?limit=1", f"Authorization: Bearer {key}")


def _submit(key: str) -> bytes:
    body = json.dumps(make_body()).encode()
    fields = (
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return _get("/v1/jobs", *fields).replace(b"GET", b"POST", 1) + body


@contextmanager
def _attacking(api: Api, row: Row, options: argparse.Namespace) -> Iterator[None]:
    if row.kind == _NOTHING:
        yield
        return
    each = max(options.connections // _PROCESSES, 1)
    attack = Attack(row.kind, HOST, api.port, api.attacker, MODEL, each)
    processes = [_start(attack) for _ in range(_PROCESSES)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
        yield
    finally:
        for process in processes:
            told, _ = process.communicate()
            row.attack.update(json.loads(told))


def _start(attack: Attack) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.door_attacks"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(describe(attack))
    process.stdin.flush()
    return process


@contextmanager
def _watching(api: Api, row: Row) -> Iterator[None]:
    """Notes the most memory that it has."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            row.peak = max(row.peak, api.resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# The report


def _report(rows: list[Row], options: argparse.Namespace) -> str:
    asked = (_LIVE, _SUBMIT, _POLL)
    header = [
        "attack",
        *(f"{name} {which}, ms" for name in asked for which in ("p50", "p99")),
        "answers",
        "MiB before",
        "at most",
        "later",
        "what the attackers got",
        "missed",
    ]
    bars = ", ".join(f"{name} p99 below {bar:g} s" for name, bar in _BARS_S.items())
    return "\n\n".join(
        [
            "## The door",
            f"One API process of the defaults, and {options.connections} connections of each kind, "
            f"all on this machine; {options.seconds:g} s a kind. Bars: {bars}, no answer but 200 "
            f"and 202, and memory {options.later:g} s later at most {_BAR_BYTES >> 20} MiB above "
            f"before.",
            table(header, [_to_cells(row, asked) for row in rows]),
        ]
    )


def _to_cells(row: Row, asked: tuple[str, ...]) -> list[str]:
    times = [
        f"{quantile(row.seconds[name], share) * 1e3:.0f}" for name in asked for share in (0.5, 0.99)
    ]
    memory = [f"{size / 2**20:.0f}" for size in (row.before, row.peak, row.later)]
    answers = sum(map(len, row.seconds.values()))
    got = ", ".join(f"{n:,} x {status}" for status, n in sorted(row.attack.items()))
    missed = "; ".join(row.missed()) or "none"
    return [row.kind, *times, f"{answers:,}", *memory, got or "nothing", missed]
