"""`python -m benchmarks.generator`: sends a server requests and writes how long each answer took.

A process of its own, so that it shares no interpreter lock with anything, and on plain sockets,
since it shares the machine: an HTTP library costs as much as the server that is measured. JSON of a
Load on stdin, of Answers on stdout.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_TAG = re.compile(rb"(?i)\r\netag: *([^\r]+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_RETRY = re.compile(rb"(?i)\r\nretry-after: *[0-9]")
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Load:
    host: str
    port: int
    paths: list[str]  # asked for in turn, from the start again when they are used up
    requests: int
    connections: int = 1  # each kept alive, each asking for one thing at a time
    rate: float | None = (
        None  # requests a second, by the clock; None: the next as soon as an answer has come
    )
    body: str | None = None  # of a POST, JSON; None: a GET
    conditional: bool = False  # with the tag of the path's last answer, as a client polls


@dataclass
class Answers:
    """With a rate, milliseconds count from when the request was due, whether or not a connection
    was free.
    """

    ms: list[float] = field(default_factory=list)  # of those with status 200, 202 and 304
    size: int = 0  # bytes of their bodies together
    good: dict[str, int] = field(default_factory=dict)  # how many of each of these
    others: dict[str, int] = field(default_factory=dict)  # how many of each other status or error
    seconds: float = 0.0  # from the first request to the last answer


@dataclass(frozen=True)
class Answer:
    status: str
    head: bytes
    size: int  # bytes of the body


def put_load(load: Load) -> Answers:
    """Runs the load in another process."""
    command = [sys.executable, "-m", "benchmarks.generator"]
    ended = subprocess.run(
        command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=True
    )
    return Answers(**json.loads(ended.stdout))


class Connection:
    """One connection kept alive.

    Knows as much of HTTP/1.1 as this API's answers need.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> Answer:
        """Raises OSError when the connection or the answer breaks off."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            return self._read(self._socket)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _read(self, source: socket.socket) -> Answer:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _receive(source)
        head, status = received[: end + 2], received[9:12].decode()
        found, body = _LENGTH.search(head), received[end + 4 :]
        if _CHUNKED.search(head):
            size = _read_chunks(source, body)
        else:
            size = int(found[1]) if found and status != "304" else 0
            missing = size - len(body)
            while missing > 0:
                missing -= len(_receive(source))
        if b"\r\nConnection: close" in head:
            self.close()
        return Answer(status, head, size)


def _read_chunks(source: socket.socket, held: bytes) -> int:
    """Bytes in all chunks; held: what came of them already."""
    size = 0
    while True:
        while (end := held.find(b"\r\n")) < 0:
            held += _receive(source)
        length, held = int(held[:end].partition(b";")[0], 16), held[end + 2 :]
        size += length
        missing = length + 2 - len(held)  # with the line end behind it
        while missing > 0:
            held = _receive(source)
            missing -= len(held)
        held = held[len(held) + missing :]
        if length == 0:
            return size


def _receive(source: socket.socket) -> bytes:
    if not (data := source.recv(1 << 16)):
        raise ConnectionResetError("the server closed the connection")
    return data


class _Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._numbers: Iterator[int] = iter(range(load.requests))
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._good: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._tags: dict[str, bytes] = {}
        self._answers = Answers()

    def run(self) -> Answers:
        threads = [threading.Thread(target=self._ask_all) for _ in range(self._load.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._answers.seconds = time.perf_counter() - self._began
        self._answers.good, self._answers.others = dict(self._good), dict(self._others)
        return self._answers

    def _ask_all(self) -> None:
        connection = Connection(self._load.host, self._load.port)
        while (number := self._next()) is not None:
            due = self._wait(number)
            path = self._load.paths[number % len(self._load.paths)]
            try:
                answer = connection.ask(self._request(path))
            except OSError as e:
                self._note(Answer(type(e).__name__, b"", 0), 0.0)
                continue
            self._note(answer, (time.perf_counter() - due) * 1e3)
            if self._load.conditional and (tag := _TAG.search(answer.head)):
                self._tags[path] = tag[1]
        connection.close()

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

    def _request(self, path: str) -> bytes:
        host = f"Host: {self._load.host}:{self._load.port}\r\n".encode()
        if self._load.body is not None:
            body = self._load.body.encode()
            kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            return b"POST " + path.encode() + b" HTTP/1.1\r\n" + host + kind + body
        tag = self._tags.get(path)
        condition = b"If-None-Match: " + tag + b"\r\n" if tag else b""
        return b"GET " + path.encode() + b" HTTP/1.1\r\n" + host + condition + b"\r\n"

    def _note(self, answer: Answer, ms: float) -> None:
        with self._lock:
            if answer.status in ("200", "202", "304"):
                self._answers.ms.append(ms)
                self._answers.size += answer.size
                self._good[answer.status] += 1
            else:
                self._others[_name(answer)] += 1


def _name(answer: Answer) -> str:
    promised = answer.status in ("429", "503") and not _RETRY.search(answer.head)
    return f"{answer.status} without Retry-After" if promised else answer.status


if __name__ == "__main__":
    json.dump(asdict(_Generator(Load(**json.load(sys.stdin))).run()), sys.stdout)
