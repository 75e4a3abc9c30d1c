"""`python -m benchmarks.door_attacks`: connections that do one harmful thing to an API.

A process of its own, so that it shares no interpreter lock with what is measured beside it. JSON of
an Attack on stdin; "begun" on stdout once all connections are at it. It ends when stdin does, and
writes how often it got which answer as JSON.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_TIMEOUT_S = 60.0
_PAUSE_S = 0.05  # between two requests of a connection; Retry-After is not heeded
_LINES = 4_000_000  # of a bomb of lines: 4 KB as they are sent
_ELEMENTS = 6_000_000
_PIECE = 1_000_000  # bytes, packed at once


@dataclass(frozen=True)
class Attack:
    kind: str  # of KINDS
    host: str
    port: int
    key: str  # an API key that may submit; strangers' kinds send none
    model: str  # that requests name
    connections: int


class Attackers:
    """All connections of one process."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._answers: Counter[str] = Counter()

    def run(self) -> dict[str, int]:
        """Until stdin ends. How many of each status, or error."""
        act = KINDS[self._attack.kind](self._attack)
        threads = [
            threading.Thread(target=self._repeat, args=(act,), daemon=True)
            for _ in range(self._attack.connections)
        ]
        for thread in threads:
            thread.start()
        print("begun", flush=True)
        sys.stdin.read()
        self._over.set()
        with self._lock:
            return dict(self._answers)

    def _repeat(self, act: Act) -> None:
        while not self._over.is_set():
            try:
                with self._connect() as sock:
                    self._note(act(sock, self._over))
            except OSError as e:
                self._note(type(e).__name__)
            self._over.wait(_PAUSE_S)

    def _connect(self) -> socket.socket:
        sock = socket.socket()
        # Little is taken in for whoever does not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(_TIMEOUT_S)
        sock.connect((self._attack.host, self._attack.port))
        return sock

    def _note(self, answer: str) -> None:
        with self._lock:
            self._answers[answer] += 1


# Does its harm on a connection, for as long as that is open; gives the status of the answer.
Act = Callable[[socket.socket, threading.Event], str]


# Those who send or read slowly


def _drip(start: bytes, more: bytes, every_s: float) -> Act:
    """Sends the start, and then a little at a time, whatever is answered."""

    def act(sock: socket.socket, over: threading.Event) -> str:
        sock.sendall(start)
        while not over.wait(every_s):
            sock.sendall(more)
        return "held"

    return act


def _slow_header(attack: Attack) -> Act:
    return _drip(b"GET /livez HT", b"x", 1.0)


def _slow_body(attack: Attack) -> Act:
    return _drip(_post(attack, "/v1/jobs", "application/json", 900_000), b" " * 4096, 0.2)


def _refused_drip(attack: Attack) -> Act:
    start = _head(
        "POST", "/v1/nothing", "Content-Type: application/json", "Content-Length: 8388000"
    )
    return _drip(start, b" " * 4096, 0.2)


def _slow_reader(attack: Attack) -> Act:
    asked = _head("GET", "/openapi.json", "Accept-Encoding: identity") * 12

    def act(sock: socket.socket, over: threading.Event) -> str:
        sock.sendall(asked)
        over.wait()
        return "held"

    return act


def _half_closed(attack: Attack) -> Act:
    def act(sock: socket.socket, over: threading.Event) -> str:
        sock.sendall(b"GET /livez HTTP/1.1\r\n")
        sock.shutdown(socket.SHUT_WR)
        over.wait(12)
        return "held"

    return act


def _kept_open(attack: Attack) -> Act:
    asked = _head("GET", "/livez", "Connection: close")

    def act(sock: socket.socket, over: threading.Event) -> str:
        sock.sendall(asked)
        over.wait(5)
        return _read_status(sock)

    return act


def _many_probes(attack: Attack) -> Act:
    asked = _head("GET", "/readyz", "Authorization: Bearer psk_" + "a" * 43) * 20

    def act(sock: socket.socket, over: threading.Event) -> str:
        sock.sendall(asked)
        return _read_status(sock)

    return act


# Those who send what is large only to whoever reads it


def _send(attack: Attack, path: str, kind: str, body: bytes) -> Act:
    message = _post(attack, path, kind, len(body)) + body

    def act(sock: socket.socket, over: threading.Event) -> str:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may be refused half way
            sock.sendall(message)
        return _read_status(sock)

    return act


def _upload(body: Callable[[], bytes], query: str, attack: Attack) -> Act:
    return _send(attack, f"/v1/corpora?{query}", "application/gzip", body())


def _lines(line: bytes, count: int) -> bytes:
    packer, piece = zlib.compressobj(9, wbits=31), line * (_PIECE // len(line))
    packed = [packer.compress(piece) for _ in range(count * len(line) // len(piece))]
    return b"".join([*packed, packer.flush()])


def _members() -> bytes:
    return gzip.compress(b"", 9) * 200_000


def _array() -> bytes:
    return gzip.compress(b"[" + b'"",' * _ELEMENTS + b'""]', 9)


def _table() -> bytes:
    return gzip.compress(b"a,text\n" + b",\n" * _ELEMENTS, 9)


def _rows() -> bytes:
    """Of Parquet, without text: a few kilobytes, packed as it always is."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": pa.nulls(_ELEMENTS, pa.string())}), file)
    return gzip.compress(file.getvalue())


def _short_list(attack: Attack) -> Act:
    texts = b'{"texts":[' + b'"",' * 20_000 + b'"a"]}'
    return _send(attack, "/v1/corpora", "application/json", texts)


def _huge_list(attack: Attack) -> Act:
    numbers = [0] * 100_000
    body = {"model": attack.model, "corpus": {"id": "notes"}, "neurons": {"indices": numbers}}
    return _send(attack, "/v1/jobs", "application/json", json.dumps(body).encode())


def _huge_texts(attack: Attack) -> Act:
    texts = b'{"texts":[' + b'"",' * 345_000 + b'"a"]}'
    return _send(attack, "/v1/corpora", "application/json", texts)


def _batch_of_texts(attack: Attack) -> Act:
    body = b'{"jobs":[' + b'"",' * 2_700_000 + b'""]}'
    return _send(attack, "/v1/batches", "application/json", body)


def _batch_of_lines(attack: Attack) -> Act:
    return _send(attack, "/v1/batches", "application/x-ndjson", b"1\n" * 50_000)


def _huge_batch(attack: Attack) -> Act:
    return _send(
        attack, "/v1/batches", "application/json", b'{"jobs":[' + b"{}," * 2_700_000 + b"{}]}"
    )


KINDS: Final[Mapping[str, Callable[[Attack], Act]]] = {
    "slow-header": _slow_header,
    "slow-body": _slow_body,
    "slow-reader": _slow_reader,
    "refused-drip": _refused_drip,
    "half-closed": _half_closed,
    "kept-open": _kept_open,
    "many-probes": _many_probes,
    "newlines": partial(_upload, partial(_lines, b"\n", _LINES), "format=text"),
    "duplicates": partial(_upload, partial(_lines, b"a b\n", _LINES), "format=text"),
    "many-newlines": partial(_upload, partial(_lines, b"\n", 500_000_000), "format=text"),
    "members": partial(_upload, _members, "format=text"),
    "json-array": partial(_upload, _array, "format=json"),
    "csv-table": partial(_upload, _table, "format=csv&field=text"),
    "parquet-rows": partial(_upload, _rows, "on_bad_line=skip"),
    "short-list": _short_list,
    "huge-list": _huge_list,
    "huge-texts": _huge_texts,
    "huge-batch": _huge_batch,
    "batch-of-texts": _batch_of_texts,
    "batch-of-lines": _batch_of_lines,
}


# HTTP


def _head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


def _post(attack: Attack, path: str, kind: str, length: int) -> bytes:
    return _head(
        "POST",
        path,
        f"Authorization: Bearer {attack.key}",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        "Connection: close",
    )


def _read_status(sock: socket.socket) -> str:
    return sock.recv(64)[9:12].decode() or "closed"


def describe(attack: Attack) -> str:
    return json.dumps(asdict(attack)) + "\n"


if __name__ == "__main__":
    found = Attackers(Attack(**json.loads(sys.stdin.readline()))).run()
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # without waiting for what is held
