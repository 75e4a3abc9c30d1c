"""A small real HTTP server that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """Answers are given by "METHOD /path?query" in their order, the last one again and again."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, request: str, *answers: Answer) -> None:
        self.answers[request] = list(answers)

    def next_answer(self, request: str) -> Answer:
        left = self.answers.get(request) or [
            Answer({"detail": f"no answer for {request}", "code": "not_found"}, 404)
        ]
        return left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def running_wire() -> Iterator[Wire]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            wire.asked.append(Asked(self.command, self.path, dict(self.headers), self._read_body()))
            answer = wire.next_answer(f"{self.command} {self.path}")
            content = b"" if answer.status in (204, 304) else answer.content()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_any

        def _read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        wire = Wire(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield wire
        server.shutdown()
        thread.join()


def job_state(**changed: Any) -> dict[str, Any]:
    progress = {
        "unit": "tokens",
        "total": 1000,
        "done": 250,
        "shards": {"done": 1, "total": 4},
        "layers": {"done": 0, "total": 30},
        "tokens_done": 250,
        "tokens_total": 1000,
        "tokens_per_second": 500.0,
        "fraction": 0.25,
        "eta_seconds": 1.5,
    }
    return {
        "id": "job_1",
        "status": "running",
        "phase": "scanning",
        "revision": 3,
        "created_at": "2026-11-24T05:00:00.000Z",
        "started_at": "2026-11-24T05:00:01.000Z",
        "finished_at": None,
        "request": {},
        "progress": progress | changed.pop("progress", {}),
        "error": None,
        "links": {},
    } | changed


def estimate(**changed: Any) -> dict[str, Any]:
    return {
        "tokens": 4000,
        "windows": 32,
        "neurons": 9,
        "layers": 3,
        "memory_bytes": 1_000_000,
        "seconds": 2.0,
        "notes": [],
    } | changed


def grouped_report(**changed: Any) -> dict[str, Any]:
    """The report with its two contexts in two senses."""
    scores = {
        "same_at": 0.35,
        "score": 0.32,
        "interval": [0.1, 0.5],
        "score_percentile": 0.71,
        "coverage": 0.9,
    }
    senses = [
        {"tail": "positive", "sense": 0, "share": 0.8, "sure": True, "broad": 0, "contexts": [0]},
        {"tail": "positive", "sense": 1, "share": 0.2, "sure": True, "broad": 1, "contexts": [1]},
    ]
    meaning = (
        "Fires in this text for two unrelated things: the word “beginning” (72 %); and the word "
        "“end” (18 %). The other 10 % is mixed."
    )
    grouped = {
        "status": "polysemantic",
        "meaning": meaning,
        "polysemanticity": scores,
        "senses": senses,
    }
    return neuron_report(**grouped | changed)


def neuron_report(**changed: Any) -> dict[str, Any]:
    context = {
        "tail": "positive",
        "sample": "top",
        "tokens": ["In", " the", " beginning", "\n", " God"],
        "activations": [0.0, -1.0, 4.0, 1.0, 2.0],
        "peak": 2,
        "activation": 4.0,
        "text": "In the beginning\n God",
        "peak_span": [6, 16],
        "spans": [[0, 2], [2, 6], [6, 16], [16, 17], [17, 21]],
        "special": [],
    }
    return {
        "layer": 3,
        "neuron": 7,
        "hook": "blocks.3.mlp.hook_post",
        "status": "not_scored",
        "meaning": "Senses were not asked for.",
        "polysemanticity": None,
        "senses": [],
        "stats": {"density": 0.125, "max": 4.0},
        "peak_tokens": [{"token": " beginning", "count": 5}, {"token": " end", "count": 1}],
        "contexts": [context, context | {"sample": "activation", "activation": 1.0}],
        "logits": {"promoted": [{"token": " start", "logit": 1.5}], "suppressed": []},
    } | changed
