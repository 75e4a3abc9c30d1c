"""The client that speaks JSON: a method for each call of the API, dicts in and out. `client.polyseme` has the types.

with Client("http://127.0.0.1:8000") as client:
    job = client.submit({"model": "smollm2-135m-instruct", "corpus": {"id": "sample"}})
    client.wait(job["id"])
    for neuron in client.neurons(job["id"], sort="-polysemanticity", limit=10):
        print(neuron["layer"], neuron["neuron"], neuron["peak_token"])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypedDict, cast

from client.core import Json, Query, typed
from client.drivers import Driver, Method
from client.operations import Operations
from client.problems import ClientError, Problem, Unreachable

__all__ = ["Client", "ClientError", "Count", "JobState", "Json", "Problem", "ProgressState", "Query", "Unreachable"]


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
    warning: str | None  # while no worker serves its queue
    created_at: str
    started_at: str | None
    finished_at: str | None
    request: Json
    progress: ProgressState
    reused: Json | None  # {"layers", "jobs"} taken over from results of other jobs
    error: Json | None
    links: Json


def _state(job: Json) -> JobState:
    return cast(JobState, job)


class Client(Driver):
    """Raises Problem for refusals and Unreachable when no answer comes."""

    submit = Method(typed(Operations.submit, _state))
    plan = Method(Operations.plan)
    job = Method(typed(Operations.job, _state))
    cancel = Method(typed(Operations.cancel, _state))
    delete = Method(Operations.delete)
    wait = Method(typed(Operations.wait, _state))
    regroup = Method(typed(Operations.regroup, _state))
    submit_batch = Method(Operations.submit_batch)
    batch = Method(Operations.batch)
    wait_batch = Method(Operations.wait_batch)
    cancel_batch = Method(Operations.cancel_batch)
    delete_batch = Method(Operations.delete_batch)
    summary = Method(Operations.summary)
    manifest = Method(Operations.manifest)
    report = Method(Operations.report)
    tree = Method(Operations.tree)
    export = Method(Operations.export)
    activations = Method(Operations.activations)
    add_corpus = Method(Operations.add_corpus)
    add_texts = Method(Operations.add_texts)
    add_file = Method(Operations.add_file)
    corpus = Method(Operations.corpus)
    delete_corpus = Method(Operations.delete_corpus)
    model = Method(Operations.model)
    readiness = Method(Operations.readiness)

    def jobs(self, **filters: Query) -> Iterator[JobState]:
        """Newest first, through all pages."""
        return cast(Iterator[JobState], self._rows("/v1/jobs", filters))

    def events(self, job: str, *, patience_s: float | None = None) -> Iterator[JobState]:
        """A job's states as they change, up to its end."""
        return map(_state, self._states(job, patience_s))

    def batches(self) -> Iterator[Json]:
        """Newest first, without their entries."""
        return self._rows("/v1/batches", {})

    def neurons(self, job: str, **query: Query) -> Iterator[Json]:
        """Rows of scalars, through all pages; `limit` is a page's. Query: layer, status, token, sort, fields, min_…"""
        return self._rows(f"/v1/jobs/{job}/neurons", query)

    def corpora(self) -> Iterator[Json]:
        return self._rows("/v1/corpora", {})

    def models(self) -> Iterator[Json]:
        return self._rows("/v1/models", {})

    def _rows(self, path: str, query: Mapping[str, Query]) -> Iterator[Json]:
        for page in self.pages(path, query):
            yield from page["data"]
