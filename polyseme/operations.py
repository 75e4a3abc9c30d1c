"""A generator for each call of the API: arguments in, records out. A driver carries them out.

What each call does is said where users look it up: in `polyseme.client`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from polyseme.contract.records.job import TERMINAL
from polyseme.feed import Feed
from polyseme.problems import StillRunning
from polyseme.reading import Record, read
from polyseme.records import (
    Activations,
    Batch,
    Corpus,
    Dictionary,
    Estimate,
    Job,
    Model,
    VectorSet,
)
from polyseme.reports import Report
from polyseme.steps import Answer, Call, Json, Pause, Query, Steps, asked_pause_s, send
from polyseme.uploads import LANGUAGE, Folder, plan_folder, read_file, read_folder, text_lines

R = TypeVar("R", bound=Record)
E = TypeVar("E", Job, Batch)  # what comes to an end

Content = Iterable[bytes] | Callable[[], Iterable[bytes]]

_POLL_S = 20  # for which the service is asked to hold an answer back until there is something new
_BRIEFLY_S = 0.2  # between answers to polls, however often a job changes


class Operations:
    """patience_s: see `steps.send`."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s

    def send(self, method: str, path: str, **options: Any) -> Steps[Answer]:
        return (yield from send(Call(method, path, **options), self.patience_s))

    def _fetch_json(self, method: str, path: str, **options: Any) -> Steps[Json]:
        answer: Json = (yield from self.send(method, path, **options)).json()
        return answer

    def _fetch(self, kind: type[R], method: str, path: str, **options: Any) -> Steps[R]:
        return read(kind, (yield from self._fetch_json(method, path, **options)))

    def _patience(self, given: float | None) -> float:
        return self.patience_s if given is None else given

    # Jobs

    def submit(self, request: Mapping[str, Any], idempotency_key: str | None) -> Steps[Job]:
        headers = _key_header(idempotency_key)
        return self._fetch(Job, "POST", "/v1/jobs", body=dict(request), headers=headers)

    def plan(self, request: Mapping[str, Any]) -> Steps[Estimate]:
        query = {"dry_run": True}
        return self._fetch(Estimate, "POST", "/v1/jobs", query=query, body=dict(request))

    def job(self, job: str) -> Steps[Job]:
        return self._fetch(Job, "GET", f"/v1/jobs/{job}")

    def cancel(self, job: str) -> Steps[Job]:
        return self._fetch(Job, "POST", f"/v1/jobs/{job}/cancel")

    def delete(self, job: str) -> Steps[None]:
        yield from self.send("DELETE", f"/v1/jobs/{job}")

    def wait(
        self,
        job: str | Job,
        on_change: Callable[[Job], object] | None,
        timeout_s: float | None,
        patience_s: float | None,
    ) -> Steps[Job]:
        path = f"/v1/jobs/{id_of(job)}"
        return self._wait(Job, path, on_change, timeout_s, self._patience(patience_s))

    def _wait(
        self,
        kind: type[E],
        path: str,
        on_change: Callable[[E], object] | None,
        timeout_s: float | None,
        patience_s: float,
    ) -> Steps[E]:
        """patience_s: once the service has answered."""
        began, tag = time.monotonic(), None
        answer: Answer = yield from self.send("GET", path)
        while True:
            if answer.status != 304:
                state, tag = read(kind, answer.json()), answer.headers.get("ETag")
                if on_change is not None:
                    on_change(state)
                if state.has_ended:
                    return state
            if timeout_s is not None and time.monotonic() - began >= timeout_s:
                raise StillRunning(
                    f"{path.rpartition('/')[2]} has not ended within {timeout_s:g} s; it goes on"
                )
            # Without the preference, or where the service has too many that wait, it says when to
            # ask again.
            yield Pause(
                _BRIEFLY_S if "Preference-Applied" in answer.headers else asked_pause_s(answer)
            )
            headers = (
                {"If-None-Match": tag, "Prefer": f"wait={_hold_s(began, timeout_s)}"} if tag else {}
            )
            answer = yield from send(Call("GET", path, headers=headers), patience_s)

    def open_feed(self, feed: Feed, patience_s: float | None) -> Steps[Answer]:
        """A connection on which a job's events come, from the one after those that the feed has
        had.
        """
        if feed.has_begun:
            yield Pause(feed.retry_s)
        answer: Answer = yield from send(feed.open(), self._patience(patience_s))
        feed.has_ended = answer.status == 204
        return answer

    def regroup(
        self,
        job: str,
        same_at: float | None,
        idempotency_key: str | None,
        changes: Mapping[str, Any],
    ) -> Steps[Job]:
        body = {k: v for k, v in {"same_at": same_at, **changes}.items() if v is not None}
        headers = _key_header(idempotency_key)
        return self._fetch(Job, "POST", f"/v1/jobs/{job}/senses", body=body, headers=headers)

    # Batches

    def submit_batch(
        self,
        requests: Sequence[Mapping[str, Any]],
        atomic: bool,
        metadata: Mapping[str, str] | None,
        webhook: str | None,
        idempotency_key: str | None,
    ) -> Steps[Batch]:
        body: Json = {"jobs": [dict(r) for r in requests], "atomic": atomic}
        body |= {} if metadata is None else {"metadata": dict(metadata)}
        body |= {} if webhook is None else {"webhook": {"url": webhook}}
        headers = _key_header(idempotency_key)
        return self._fetch(Batch, "POST", "/v1/batches", body=body, headers=headers)

    def batch(self, batch: str) -> Steps[Batch]:
        return self._fetch(Batch, "GET", f"/v1/batches/{batch}")

    def wait_batch(
        self,
        batch: str | Batch,
        on_change: Callable[[Batch], object] | None,
        timeout_s: float | None,
        patience_s: float | None,
    ) -> Steps[Batch]:
        path = f"/v1/batches/{id_of(batch)}"
        return self._wait(Batch, path, on_change, timeout_s, self._patience(patience_s))

    def cancel_batch(self, batch: str) -> Steps[Batch]:
        return self._fetch(Batch, "POST", f"/v1/batches/{batch}/cancel")

    def delete_batch(self, batch: str, with_jobs: bool) -> Steps[None]:
        yield from self.send("DELETE", f"/v1/batches/{batch}", query={"with_jobs": with_jobs})

    # Results

    def summary(self, job: str, beside: str | None) -> Steps[Json]:
        return self._fetch_json("GET", f"/v1/jobs/{job}/summary", query={"beside": beside})

    def manifest(self, job: str) -> Steps[Json]:
        return self._fetch_json("GET", f"/v1/jobs/{job}/manifest")

    def neuron(self, job: str, layer: int, neuron: int) -> Steps[Report]:
        return self._fetch(Report, "GET", f"/v1/jobs/{job}/neurons/{layer}/{neuron}")

    def tree(self, job: str, layer: int, neuron: int, tail: str) -> Steps[Json]:
        path = f"/v1/jobs/{job}/neurons/{layer}/{neuron}/tree"
        return self._fetch_json("GET", path, query={"tail": tail})

    def export(
        self, job: str, form: str, file: IO[bytes], query: Mapping[str, Query]
    ) -> Steps[int]:
        # What has been written cannot be taken back, so it is not begun again.
        answer = yield from self.send(
            "GET",
            f"/v1/jobs/{job}/export",
            query={"format": form, **query},
            sink=file,
            is_safe=False,
        )
        return answer.size

    def table_bytes(self, job: str) -> Steps[bytes]:
        """The table of all neurons, one row of scalars each, as a Parquet file."""
        query: dict[str, Query] = {"format": "parquet", "file": "neurons"}
        return (yield from self.send("GET", f"/v1/jobs/{job}/export", query=query)).body

    def activations(
        self, job: str, text: str, neurons: Sequence[tuple[int, int]], top: int | None
    ) -> Steps[Activations]:
        body: Json = {
            "job": job,
            "text": text,
            "neurons": [{"layer": i, "neuron": n} for i, n in neurons],
        }
        headers = {"Prefer": f"wait={_POLL_S}"}
        body |= {} if top is None else {"top": top}
        answer: Answer = yield from self.send(
            "POST", "/v1/activations", body=body, headers=headers, is_safe=False
        )
        while (check := answer.json())["status"] not in TERMINAL:
            yield Pause(0.0 if "Preference-Applied" in answer.headers else asked_pause_s(answer))
            answer = yield from self.send("GET", f"/v1/activations/{check['id']}", headers=headers)
        return read(Activations, check)

    # Corpora, models, the service

    def add_corpus(
        self, content: Content, media_type: str, query: Mapping[str, Query]
    ) -> Steps[Corpus]:
        return self._fetch(
            Corpus,
            "POST",
            "/v1/corpora",
            headers={"Content-Type": media_type},
            content=content if callable(content) else lambda: content,
            is_once=not callable(content),
            query=query,
        )

    def add_texts(
        self, texts: Sequence[str], name: str | None, languages: Sequence[str | None] | None
    ) -> Steps[Corpus]:
        query = {"name": name, "language_field": None if languages is None else LANGUAGE}
        return self.add_corpus(lambda: text_lines(texts, languages), "application/x-ndjson", query)

    def add_file(
        self, path: str | Path, name: str | None, query: Mapping[str, Query]
    ) -> Steps[Corpus]:
        file = Path(path)
        if file.is_dir():
            return self._add_folder(file, name, query)
        query = {"name": name, "filename": file.name, **query}
        return self.add_corpus(lambda: read_file(file), "application/octet-stream", query)

    def _add_folder(
        self, path: Path, name: str | None, query: Mapping[str, Query]
    ) -> Steps[Corpus]:
        """Its files are read here, each by what is in it."""
        reading = plan_folder(query)
        folder = Folder.of(path, reading.field)
        folder.tell()
        left = {"name": name, "on_bad_line": query.get("on_bad_line")}
        left["language_field"] = None if reading.language_field is None else LANGUAGE
        return self.add_corpus(lambda: read_folder(folder, reading), "application/x-ndjson", left)

    def corpus(self, corpus: str) -> Steps[Corpus]:
        return self._fetch(Corpus, "GET", f"/v1/corpora/{corpus}")

    def delete_corpus(self, corpus: str) -> Steps[None]:
        yield from self.send("DELETE", f"/v1/corpora/{corpus}")

    def add_vectors(
        self, content: Callable[[], Iterable[bytes]], query: Mapping[str, Query]
    ) -> Steps[VectorSet]:
        headers = {"Content-Type": "application/octet-stream"}
        return self._fetch(
            VectorSet, "POST", "/v1/vectors", headers=headers, content=content, query=query
        )

    def vectors(self, vectors: str) -> Steps[VectorSet]:
        return self._fetch(VectorSet, "GET", f"/v1/vectors/{vectors}")

    def delete_vectors(self, vectors: str) -> Steps[None]:
        yield from self.send("DELETE", f"/v1/vectors/{vectors}")

    def model(self, model: str) -> Steps[Model]:
        return self._fetch(Model, "GET", f"/v1/models/{model}")

    def dictionary(self, dictionary: str) -> Steps[Dictionary]:
        return self._fetch(Dictionary, "GET", f"/v1/dictionaries/{dictionary}")

    def readiness(self) -> Steps[Json]:
        return self._fetch_json("GET", "/readyz")


def id_of(thing: str | Job | Batch) -> str:
    return thing if isinstance(thing, str) else thing.id


def _key_header(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def _hold_s(began: float, timeout_s: float | None) -> int:
    left = _POLL_S if timeout_s is None else timeout_s - (time.monotonic() - began)
    return max(min(int(left), _POLL_S), 0)
