"""`python -m benchmarks.load`: asks a server for paths and writes how long each answer took.

A process of its own, so that it shares no interpreter lock with anything. JSON of a Load on stdin, of Answers on
stdout.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Load:
    host: str
    port: int
    paths: list[str]  # asked for in turn, from the start again when they are used up
    requests: int
    connections: int = 1  # each kept alive, each asking for one thing at a time
    rate: float | None = None  # requests a second, by the clock; None: the next as soon as an answer has come


@dataclass
class Answers:
    """With a rate, milliseconds count from when the request was due, whether or not a connection was free."""

    ms: list[float] = field(default_factory=list)  # of those with status 200
    size: int = 0  # bytes of their bodies together
    others: dict[str, int] = field(default_factory=dict)  # how many of each other status or error
    seconds: float = 0.0  # from the first request to the last answer


def put_load(load: Load) -> Answers:
    """Runs the load in another process."""
    command = [sys.executable, "-m", "benchmarks.load"]
    ended = subprocess.run(command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=True)
    return Answers(**json.loads(ended.stdout))


class _Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._numbers: Iterator[int] = iter(range(load.requests))
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._others: Counter[str] = Counter()
        self._answers = Answers()

    def run(self) -> Answers:
        threads = [threading.Thread(target=self._ask_all) for _ in range(self._load.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._answers.seconds = time.perf_counter() - self._began
        self._answers.others = dict(self._others)
        return self._answers

    def _ask_all(self) -> None:
        connection = http.client.HTTPConnection(self._load.host, self._load.port, timeout=60)
        while (number := self._next()) is not None:
            due = self._wait(number)
            try:
                status, size = self._ask(connection, self._load.paths[number % len(self._load.paths)])
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                status, size = type(e).__name__, 0
            self._note(status, size, (time.perf_counter() - due) * 1e3)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _wait(self, number: int) -> float:
        """Until the request is due; the moment it was."""
        if self._load.rate is None:
            return time.perf_counter()
        due = self._began + number / self._load.rate
        time.sleep(max(due - time.perf_counter(), 0))
        return due

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> tuple[str, int]:
        connection.request("GET", path)
        response = connection.getresponse()
        return str(response.status), len(response.read())

    def _note(self, status: str, size: int, ms: float) -> None:
        with self._lock:
            if status == "200":
                self._answers.ms.append(ms)
                self._answers.size += size
            else:
                self._others[status] += 1


if __name__ == "__main__":
    json.dump(asdict(_Generator(Load(**json.load(sys.stdin))).run()), sys.stdout)
