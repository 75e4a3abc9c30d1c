"""A generator for each call of the API, JSON in and out. What drives them puts the patience in."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from client.core import Answer, Call, Json, Pause, Query, Steps, asked_pause_s, send
from client.feed import Feed
from client.problems import StillRunning
from contract.records import TERMINAL

_POLL_S = 20  # for which the service is asked to hold an answer back until there is something new
_BRIEFLY_S = 0.2  # between answers to polls, however often a job changes
_UPLOAD_CHUNK = 1 << 18


class Operations:
    """patience_s: see `core.send`."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s

    def send(self, method: str, path: str, **options: Any) -> Steps[Answer]:
        return (yield from send(Call(method, path, **options), self.patience_s))

    def fetch(self, method: str, path: str, **options: Any) -> Steps[Any]:
        return (yield from self.send(method, path, **options)).json()

    # Jobs

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Steps[Json]:
        """Posts a job. A repetition after a lost answer finds the same job, by a key made here when none is given."""
        return (yield from self.fetch("POST", "/v1/jobs", body=dict(request), headers=_key(idempotency_key)))

    def plan(self, request: Mapping[str, Any]) -> Steps[Json]:
        """What a job would take, without running it."""
        return (yield from self.fetch("POST", "/v1/jobs", query={"dry_run": True}, body=dict(request)))

    def job(self, job: str) -> Steps[Json]:
        """A job as it is now."""
        return (yield from self.fetch("GET", f"/v1/jobs/{job}"))

    def cancel(self, job: str) -> Steps[Json]:
        """Ends a job; one that has ended stays as it is."""
        return (yield from self.fetch("POST", f"/v1/jobs/{job}/cancel"))

    def delete(self, job: str) -> Steps[None]:
        """Deletes an ended job and its result."""
        yield from self.send("DELETE", f"/v1/jobs/{job}")

    def wait(
        self,
        job: str,
        on_change: Callable[[Any], None] = lambda _: None,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Steps[Json]:
        """Follows a job until it has ended, and tells of each change.

        patience_s: for how long an absence of the service is put up with once it has answered; None: as elsewhere.
        Raises StillRunning after `timeout_s`.
        """
        return (yield from self._wait(f"/v1/jobs/{job}", TERMINAL, on_change, timeout_s, patience_s))

    def _wait(
        self,
        path: str,
        terminal: Collection[str],
        on_change: Callable[[Any], None],
        timeout_s: float | None,
        patience_s: float | None,
    ) -> Steps[Json]:
        began, tag = time.monotonic(), None
        answer: Answer = yield from self.send("GET", path)
        while True:
            if answer.status != 304:
                state, tag = answer.json(), answer.headers.get("ETag")
                on_change(state)
                if state["status"] in terminal:
                    return state
            if timeout_s is not None and time.monotonic() - began >= timeout_s:
                raise StillRunning(f"{path.rpartition('/')[2]} has not ended within {timeout_s:g} s; it goes on")
            # Without the preference, or where the service has too many that wait, it says when to ask again.
            yield Pause(_BRIEFLY_S if "Preference-Applied" in answer.headers else asked_pause_s(answer))
            headers = {"If-None-Match": tag, "Prefer": f"wait={_hold_s(began, timeout_s)}"} if tag else {}
            answer = yield from send(Call("GET", path, headers=headers), self._patience(patience_s))

    def open_feed(self, feed: Feed, patience_s: float | None) -> Steps[Answer]:
        """A connection on which a job's events come, from the one after those that the feed has had."""
        if feed.has_begun:
            yield Pause(feed.retry_s)
        answer: Answer = yield from send(feed.open(), self._patience(patience_s))
        feed.has_ended = answer.status == 204
        return answer

    def _patience(self, given: float | None) -> float:
        return self.patience_s if given is None else given

    def regroup(
        self, /, job: str, *, alpha: float | None = None, idempotency_key: str | None = None, **changes: Any
    ) -> Steps[Json]:
        """Makes the senses of a finished job anew: a new job, that needs no model. changes: min_contexts, vectors, …"""
        body = {k: v for k, v in ({"alpha": alpha} | changes).items() if v is not None}
        path = f"/v1/jobs/{job}/senses"
        return (yield from self.fetch("POST", path, body=body, headers=_key(idempotency_key)))

    # Batches

    def submit_batch(
        self,
        requests: Sequence[Mapping[str, Any]],
        *,
        atomic: bool = True,
        metadata: Mapping[str, str] | None = None,
        webhook: str | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[Json]:
        """Posts many jobs in one call: all or none of them, or with `atomic` false those that are not refused.

        webhook: a URL that is told once, when the last job has ended.
        """
        body: Json = {"jobs": [dict(r) for r in requests], "atomic": atomic}
        body |= {} if metadata is None else {"metadata": dict(metadata)}
        body |= {} if webhook is None else {"webhook": {"url": webhook}}
        return (yield from self.fetch("POST", "/v1/batches", body=body, headers=_key(idempotency_key)))

    def batch(self, batch: str) -> Steps[Json]:
        """A batch as it is now."""
        return (yield from self.fetch("GET", f"/v1/batches/{batch}"))

    def wait_batch(
        self,
        batch: str,
        on_change: Callable[[Any], None] = lambda _: None,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Steps[Json]:
        """Follows a batch until every job of it has ended. As `wait`."""
        return (yield from self._wait(f"/v1/batches/{batch}", ("ended",), on_change, timeout_s, patience_s))

    def cancel_batch(self, batch: str) -> Steps[Json]:
        """Ends every job of a batch that has not ended."""
        return (yield from self.fetch("POST", f"/v1/batches/{batch}/cancel"))

    def delete_batch(self, batch: str, *, with_jobs: bool = False) -> Steps[None]:
        """Deletes an ended batch. Its jobs and their results stay, unless `with_jobs`."""
        yield from self.send("DELETE", f"/v1/batches/{batch}", query={"with_jobs": with_jobs})

    # Results

    def summary(self, job: str) -> Steps[Json]:
        """Counts by layer and status, and distributions."""
        return (yield from self.fetch("GET", f"/v1/jobs/{job}/summary"))

    def manifest(self, job: str) -> Steps[Json]:
        """What was run, on what, with what."""
        return (yield from self.fetch("GET", f"/v1/jobs/{job}/manifest"))

    def report(self, job: str, layer: int, neuron: int) -> Steps[Json]:
        """All that is known of one neuron."""
        return (yield from self.fetch("GET", f"/v1/jobs/{job}/neurons/{layer}/{neuron}"))

    def tree(self, job: str, layer: int, neuron: int, *, tail: str = "positive") -> Steps[Json]:
        """How a neuron's contexts were grouped, and what other alphas would give."""
        path = f"/v1/jobs/{job}/neurons/{layer}/{neuron}/tree"
        return (yield from self.fetch("GET", path, query={"tail": tail}))

    def export(self, /, job: str, form: str, file: IO[bytes], **query: Query) -> Steps[int]:
        """Writes the whole result to a file as it arrives. Returns its bytes. Query: layer, file.

        form: parquet, ndjson, or what else the service exports.
        """
        query = {"format": form, **query}
        # What has been written cannot be taken back, so it is not begun again.
        answer = yield from self.send("GET", f"/v1/jobs/{job}/export", query=query, sink=file, is_safe=False)
        return answer.size

    def table_bytes(self, job: str) -> Steps[bytes]:
        """The table of all neurons, one row of scalars each, as a Parquet file."""
        query: dict[str, Query] = {"format": "parquet", "file": "neurons"}
        return (yield from self.send("GET", f"/v1/jobs/{job}/export", query=query)).body

    def activations(
        self, job: str, text: str, neurons: Sequence[tuple[int, int]], *, top: int | None = None
    ) -> Steps[Json]:
        """Runs a text of your own through a finished job's model, and waits for the answer. neurons: (layer, neuron)"""
        body: Json = {"job": job, "text": text, "neurons": [{"layer": i, "neuron": n} for i, n in neurons]}
        headers = {"Prefer": f"wait={_POLL_S}"}
        body |= {} if top is None else {"top": top}
        answer: Answer = yield from self.send("POST", "/v1/activations", body=body, headers=headers, is_safe=False)
        while (state := answer.json())["status"] not in TERMINAL:
            yield Pause(0.0 if "Preference-Applied" in answer.headers else asked_pause_s(answer))
            answer = yield from self.send("GET", f"/v1/activations/{state['id']}", headers=headers)
        return state

    # Corpora, models, the service

    def add_corpus(
        self,
        /,
        content: Iterable[bytes] | Callable[[], Iterable[bytes]],
        *,
        media_type: str = "application/x-ndjson",
        **query: Query,
    ) -> Steps[Json]:
        """Uploads a corpus as a stream. Query: name (its id), field, sample_by, format.

        content: a function that begins it anew lets a failed upload be repeated, which is harmless.
        """
        options = {"content": _opener(content), "is_once": not callable(content), "query": query}
        return (yield from self.fetch("POST", "/v1/corpora", headers={"Content-Type": media_type}, **options))

    def add_texts(self, texts: Sequence[str], *, name: str | None = None) -> Steps[Json]:
        """Adds documents as a corpus."""
        return (yield from self.add_corpus(lambda: text_lines(texts), name=name))

    def add_file(self, /, path: str | Path, *, name: str | None = None, **query: Query) -> Steps[Json]:
        """Uploads .txt, with a document a line; .jsonl, with a field `text`; either as .gz; or a folder.

        Of a folder each .txt and .md is a document, and each line of each .jsonl.
        """
        path = Path(path)
        media_type, inner = media_type_of(path)
        query = {"name": name, "format": inner, **query}
        return (yield from self.add_corpus(lambda: read_content(path), media_type=media_type, **query))

    def corpus(self, corpus: str) -> Steps[Json]:
        """A corpus' sizes."""
        return (yield from self.fetch("GET", f"/v1/corpora/{corpus}"))

    def delete_corpus(self, corpus: str) -> Steps[None]:
        """Deletes a corpus; results made from it stay."""
        yield from self.send("DELETE", f"/v1/corpora/{corpus}")

    def model(self, model: str) -> Steps[Json]:
        """What is known of a model."""
        return (yield from self.fetch("GET", f"/v1/models/{model}"))

    def readiness(self) -> Steps[Json]:
        """{"status", "workers"}: how many workers the board has heard of lately."""
        return (yield from self.fetch("GET", "/readyz"))


def _opener(content: Iterable[bytes] | Callable[[], Iterable[bytes]]) -> Callable[[], Iterable[bytes]]:
    return content if callable(content) else lambda: content


def media_type_of(path: Path) -> tuple[str, str | None]:
    """The media type of an upload, and what is inside when it is gzip."""
    if path.is_dir():
        return "application/x-ndjson", None
    inner = "jsonl" if {".jsonl", ".ndjson"} & set(path.suffixes) else "text"
    if path.suffix == ".gz":
        return "application/gzip", inner
    return ("application/x-ndjson" if inner == "jsonl" else "text/plain"), None


def read_content(path: Path) -> Iterator[bytes]:
    """A file in pieces; a folder as JSON lines, its files in the order of their names."""
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            yield from _read_documents(file)
        return
    with path.open("rb") as file_:
        while chunk := file_.read(_UPLOAD_CHUNK):
            yield chunk


def _read_documents(file: Path) -> Iterator[bytes]:
    if file.suffix in (".txt", ".md"):
        yield from text_lines([file.read_text(encoding="utf-8", errors="replace")])
    elif file.suffix in (".jsonl", ".ndjson"):
        with file.open("rb") as lines:
            yield from (line.rstrip(b"\n") + b"\n" for line in lines)


def text_lines(texts: Iterable[str]) -> Iterator[bytes]:
    """Documents as JSON lines."""
    for text in texts:
        yield json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def _key(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def _hold_s(began: float, timeout_s: float | None) -> int:
    left = _POLL_S if timeout_s is None else timeout_s - (time.monotonic() - began)
    return max(min(int(left), _POLL_S), 0)
