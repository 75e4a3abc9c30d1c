"""The Python client: a method for each call of the API, JSON in and out. Knows nothing of terminals.

with Client("http://127.0.0.1:8000") as client:
    job = client.submit({"model": "smollm2-135m-instruct", "corpus": {"id": "sample"}})
    client.wait(job["id"])
    for neuron in client.neurons(job["id"], sort="-polysemanticity", limit=10):
        print(neuron["layer"], neuron["neuron"], neuron["peak_token"])
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, Self, TypedDict, cast

import httpx

from contract.records import TERMINAL

Json = dict[str, Any]
Query = str | int | float | bool | None

_TRIES = 4  # of a request answered 429 or 503
_USUAL_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class Count(TypedDict):
    done: int
    total: int | None  # None before the job is planned; so are the others' totals


class ProgressState(TypedDict):
    """How far a job is. `fraction` is 0..1, of the tokens; what is not known yet is None."""

    unit: str
    total: int | None
    done: int
    shards: Count
    layers: Count
    tokens_done: int
    tokens_total: int | None
    tokens_per_second: float | None
    fraction: float | None
    eta_seconds: float | None


class JobState(TypedDict):
    """A job as the service shows it. Times are RFC 3339 strings."""

    id: str
    status: str
    phase: str
    revision: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    request: Json
    progress: ProgressState
    error: Json | None
    links: Json


class ClientError(Exception):
    """Root of what the client raises."""


class Unreachable(ClientError):
    """No answer came: nobody listens there, or the connection broke."""


class Problem(ClientError):
    """An answer of status 4xx or 5xx, with what its `application/problem+json` said."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.code = str(body.get("code", "http_error"))  # stable, for programs
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.errors: list[Json] = list(body.get("errors", []))  # {"pointer", "detail"}
        self.request_id: str | None = body.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.detail} (status {status}, {self.code})")

    @classmethod
    def of(cls, response: httpx.Response) -> Problem:
        """Reads a problem; an answer that is none, such as a proxy's page, becomes one without a code."""
        try:
            body = response.json()
        except ValueError:
            body = None
        return cls(response.status_code, body if isinstance(body, dict) else {}, _retry_after(response))


class Client:
    """Thread-safe, as httpx's client is. Raises Problem for refusals and Unreachable when no answer comes."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout_s: float = 60.0
    ) -> None:
        """api_key: psk_…, for a service that has keys."""
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Proxies of the environment are not for a service on this machine or in its network.
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Jobs

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> JobState:
        """Posts a job. A repetition after a lost answer finds the same job, by a key made here when none is given."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return cast(JobState, self._send("POST", "/v1/jobs", json=dict(request), headers=headers).json())

    def plan(self, request: Mapping[str, Any]) -> Json:
        """What a job would take, without running it."""
        return self._send("POST", "/v1/jobs", params={"dry_run": "true"}, json=dict(request)).json()

    def job(self, job: str) -> JobState:
        return cast(JobState, self._send("GET", f"/v1/jobs/{job}").json())

    def jobs(self, **filters: Query) -> Iterator[JobState]:
        """Newest first, through all pages."""
        return cast(Iterator[JobState], self._pages("/v1/jobs", filters))

    def cancel(self, job: str) -> JobState:
        return cast(JobState, self._send("POST", f"/v1/jobs/{job}/cancel").json())

    def delete(self, job: str) -> None:
        self._send("DELETE", f"/v1/jobs/{job}")

    def wait(self, job: str, on_change: Callable[[JobState], None] = lambda _: None) -> JobState:
        """Polls until the job has ended, as often as the service asks, and tells of each change."""
        tag: str | None = None
        while True:
            response = self._send("GET", f"/v1/jobs/{job}", headers={"If-None-Match": tag} if tag else {})
            if response.status_code != httpx.codes.NOT_MODIFIED:
                state = cast(JobState, response.json())
                tag = response.headers.get("ETag")
                on_change(state)
                if state["status"] in TERMINAL:
                    return state
            _pause(response)

    # Results

    def summary(self, job: str) -> Json:
        return self._send("GET", f"/v1/jobs/{job}/summary").json()

    def neurons(self, job: str, **query: Query) -> Iterator[Json]:
        """Rows of scalars, through all pages; `limit` is a page's. Query: layer, status, token, sort, fields, min_…"""
        return self._pages(f"/v1/jobs/{job}/neurons", query)

    def report(self, job: str, layer: int, neuron: int) -> Json:
        return self._send("GET", f"/v1/jobs/{job}/neurons/{layer}/{neuron}").json()

    def export(self, job: str, form: str, file: IO[bytes]) -> int:
        """Writes the whole result, as "parquet" or "ndjson", to a file as it arrives. Returns its bytes."""
        size = 0
        try:
            with self._http.stream("GET", f"/v1/jobs/{job}/export", params={"format": form}) as response:
                if response.is_error:
                    response.read()
                    raise Problem.of(response)
                for chunk in response.iter_bytes():
                    size += file.write(chunk)
        except httpx.TransportError as e:
            raise self._unreachable(e) from e
        return size

    # Corpora and models

    def add_corpus(self, content: Iterable[bytes], *, media_type: str = "application/x-ndjson", **query: Query) -> Json:
        """Uploads a corpus as a stream. Query: name (its id), field, sample_by, format."""
        headers = {"Content-Type": media_type}
        response = self._once("POST", "/v1/corpora", content=content, headers=headers, params=_given(query))
        if response.is_error:
            raise Problem.of(response)
        return response.json()

    def delete_corpus(self, corpus: str) -> None:
        self._send("DELETE", f"/v1/corpora/{corpus}")

    def corpora(self) -> Iterator[Json]:
        return self._pages("/v1/corpora", {})

    def models(self) -> Iterator[Json]:
        return self._pages("/v1/models", {})

    def readiness(self) -> Json:
        """{"status", "workers"}: how many workers the board has heard of lately."""
        return self._send("GET", "/readyz").json()

    # Sending

    def _pages(self, path: str, query: Mapping[str, Query]) -> Iterator[Json]:
        """What a list has, following `Link: rel="next"`."""
        response = self._send("GET", path, params=_given(query))
        while True:
            yield from response.json()["data"]
            following = response.links.get("next", {}).get("url")
            if not following:
                return
            response = self._send("GET", following)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sends what may be sent twice. Where the service is busy, tries again when it says."""
        for tries_left in reversed(range(_TRIES)):
            response = self._once(method, path, **options)
            busy = response.status_code in (429, 503)
            if not busy or not tries_left:
                break
            _pause(response)
        if response.is_error:
            raise Problem.of(response)
        return response

    def _once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as e:
            raise self._unreachable(e) from e

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(f"No answer from {self.url}: {error or type(error).__name__}")


def _given(query: Mapping[str, Query]) -> dict[str, str | int | float]:
    """Without what is None; booleans as the API spells them."""
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in query.items() if v is not None}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait as the service says, within reason; None when it does not, or says a date."""
    try:
        return min(max(float(response.headers.get("Retry-After", "")), 0.0), _LONGEST_PAUSE_S)
    except ValueError:
        return None


def _pause(response: httpx.Response) -> None:
    seconds = _retry_after(response)
    time.sleep(_USUAL_PAUSE_S if seconds is None else seconds)
