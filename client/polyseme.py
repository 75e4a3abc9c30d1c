"""The Python client: typed, blocking or for asyncio. Both have the same methods, from the same operations.

from polyseme import Polyseme

with Polyseme() as polyseme:
    job = polyseme.wait(polyseme.submit({"model": "smollm2-135m-instruct", "corpus": {"id": "sample"}}).id)
    for row in polyseme.neurons(job.id, layer=14, sort="-polysemanticity").first(10):
        print(row.layer, row.neuron, row.sense_count)
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from itertools import islice
from typing import Any, Generic, TypeVar

from client.core import Query, Steps, typed
from client.drivers import DEFAULT_URL, AsyncDriver, AsyncMethod, Driver, Method
from client.operations import Operations
from client.records import Activations, Batch, Corpus, Estimate, Job, Model, NeuronRow, Report, reader
from client.tables import read_arrow, read_pandas, read_polars

T = TypeVar("T")

PATIENCE_S = 30.0
_SHOWN = 20  # rows of a list in a notebook

_job, _batch, _report, _corpus = reader(Job), reader(Batch), reader(Report), reader(Corpus)


def _wait(
    operations: Operations,
    job: str | Job,
    on_change: Callable[[Job], None] = lambda _: None,
    *,
    timeout_s: float | None = None,
    patience_s: float | None = None,
) -> Steps[Job]:
    def tell(state: Mapping[str, Any]) -> None:
        on_change(_job(state))

    return _job((yield from operations.wait(_id(job), tell, timeout_s=timeout_s, patience_s=patience_s)))


def _wait_batch(
    operations: Operations,
    batch: str | Batch,
    on_change: Callable[[Batch], None] = lambda _: None,
    *,
    timeout_s: float | None = None,
    patience_s: float | None = None,
) -> Steps[Batch]:
    def tell(state: Mapping[str, Any]) -> None:
        on_change(_batch(state))

    return _batch((yield from operations.wait_batch(_id(batch), tell, timeout_s=timeout_s, patience_s=patience_s)))


_wait.__doc__ = Operations.wait.__doc__
_wait_batch.__doc__ = Operations.wait_batch.__doc__

_submit = typed(Operations.submit, _job)
_plan = typed(Operations.plan, reader(Estimate))
_get_job = typed(Operations.job, _job)
_cancel = typed(Operations.cancel, _job)
_regroup = typed(Operations.regroup, _job)
_submit_batch = typed(Operations.submit_batch, _batch)
_get_batch = typed(Operations.batch, _batch)
_cancel_batch = typed(Operations.cancel_batch, _batch)
_get_report = typed(Operations.report, _report)
_activations = typed(Operations.activations, reader(Activations))
_add_corpus = typed(Operations.add_corpus, _corpus)
_add_texts = typed(Operations.add_texts, _corpus)
_add_file = typed(Operations.add_file, _corpus)
_get_corpus = typed(Operations.corpus, _corpus)
_get_model = typed(Operations.model, reader(Model))
_arrow = typed(Operations.table_bytes, read_arrow)
_pandas = typed(Operations.table_bytes, read_pandas)
_polars = typed(Operations.table_bytes, read_polars)


class Polyseme(Driver):
    """Thread-safe. Raises a Problem for what is refused, and Unreachable when no answer comes within the patience."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """url: else POLYSEME_URL, else this machine's port 8000. api_key: else POLYSEME_API_KEY.

        patience_s: for how long a service may be away or busy before a call fails. 0: not at all.
        """
        super().__init__(*_address(url), api_key=_key(api_key), timeout_s=timeout_s, patience_s=patience_s)

    submit = Method(_submit)
    plan = Method(_plan)
    job = Method(_get_job)
    cancel = Method(_cancel)
    delete = Method(Operations.delete)
    wait = Method(_wait)
    regroup = Method(_regroup)
    submit_batch = Method(_submit_batch)
    batch = Method(_get_batch)
    wait_batch = Method(_wait_batch)
    cancel_batch = Method(_cancel_batch)
    delete_batch = Method(Operations.delete_batch)
    summary = Method(Operations.summary)
    manifest = Method(Operations.manifest)
    neuron = Method(_get_report)
    tree = Method(Operations.tree)
    activations = Method(_activations)
    export = Method(Operations.export)
    arrow = Method(_arrow)
    pandas = Method(_pandas)
    polars = Method(_polars)
    add_corpus = Method(_add_corpus)
    add_texts = Method(_add_texts)
    add_file = Method(_add_file)
    corpus = Method(_get_corpus)
    delete_corpus = Method(Operations.delete_corpus)
    model = Method(_get_model)
    readiness = Method(Operations.readiness)

    def jobs(self, **filters: Query) -> Rows[Job]:
        """Newest first. Filters: status, model, corpus, batch."""
        return Rows(self, "/v1/jobs", filters, _job)

    def events(self, job: str | Job, *, patience_s: float | None = None) -> Iterator[Job]:
        """A job's states as they change, the one it is in first; the last has ended. patience_s: as of `wait`."""
        return map(_job, self._states(_id(job), patience_s))

    def batches(self) -> Rows[Batch]:
        """Newest first, without their entries."""
        return Rows(self, "/v1/batches", {}, _batch)

    def neurons(self, job: str, **query: Query) -> Rows[NeuronRow]:
        """Query: layer, neuron, status, token, sort, fields, min_… and max_…; `limit` is a page's."""
        return Rows(self, f"/v1/jobs/{job}/neurons", query, reader(NeuronRow))

    def corpora(self) -> Rows[Corpus]:
        return Rows(self, "/v1/corpora", {}, _corpus)

    def models(self) -> Rows[Model]:
        return Rows(self, "/v1/models", {}, reader(Model))


class AsyncPolyseme(AsyncDriver):
    """The same with `await` and `async for`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """As Polyseme."""
        super().__init__(*_address(url), api_key=_key(api_key), timeout_s=timeout_s, patience_s=patience_s)

    submit = AsyncMethod(_submit)
    plan = AsyncMethod(_plan)
    job = AsyncMethod(_get_job)
    cancel = AsyncMethod(_cancel)
    delete = AsyncMethod(Operations.delete)
    wait = AsyncMethod(_wait)
    regroup = AsyncMethod(_regroup)
    submit_batch = AsyncMethod(_submit_batch)
    batch = AsyncMethod(_get_batch)
    wait_batch = AsyncMethod(_wait_batch)
    cancel_batch = AsyncMethod(_cancel_batch)
    delete_batch = AsyncMethod(Operations.delete_batch)
    summary = AsyncMethod(Operations.summary)
    manifest = AsyncMethod(Operations.manifest)
    neuron = AsyncMethod(_get_report)
    tree = AsyncMethod(Operations.tree)
    activations = AsyncMethod(_activations)
    export = AsyncMethod(Operations.export)
    arrow = AsyncMethod(_arrow)
    pandas = AsyncMethod(_pandas)
    polars = AsyncMethod(_polars)
    add_corpus = AsyncMethod(_add_corpus)
    add_texts = AsyncMethod(_add_texts)
    add_file = AsyncMethod(_add_file)
    corpus = AsyncMethod(_get_corpus)
    delete_corpus = AsyncMethod(Operations.delete_corpus)
    model = AsyncMethod(_get_model)
    readiness = AsyncMethod(Operations.readiness)

    def jobs(self, **filters: Query) -> AsyncRows[Job]:
        """As Polyseme.jobs; so are the next."""
        return AsyncRows(self, "/v1/jobs", filters, _job)

    async def events(self, job: str | Job, *, patience_s: float | None = None) -> AsyncIterator[Job]:
        async with aclosing(self._states(_id(job), patience_s)) as states:
            async for state in states:
                yield _job(state)

    def batches(self) -> AsyncRows[Batch]:
        return AsyncRows(self, "/v1/batches", {}, _batch)

    def neurons(self, job: str, **query: Query) -> AsyncRows[NeuronRow]:
        return AsyncRows(self, f"/v1/jobs/{job}/neurons", query, reader(NeuronRow))

    def corpora(self) -> AsyncRows[Corpus]:
        return AsyncRows(self, "/v1/corpora", {}, _corpus)

    def models(self) -> AsyncRows[Model]:
        return AsyncRows(self, "/v1/models", {}, reader(Model))


class Rows(Generic[T]):
    """A list of the service's. Each walk through it asks anew, page by page, as far as it is read."""

    def __init__(
        self, driver: Driver, path: str, query: Mapping[str, Query], read: Callable[[Mapping[str, Any]], T]
    ) -> None:
        self._driver, self._path, self._query, self._read = driver, path, query, read

    def __iter__(self) -> Iterator[T]:
        for page in self._driver.pages(self._path, self._query):
            yield from map(self._read, page["data"])

    def first(self, count: int) -> list[T]:
        """At most so many rows."""
        limit = {} if self._path == "/v1/models" or count < 1 else {"limit": min(count, 200)}
        return list(islice(Rows(self._driver, self._path, limit | dict(self._query), self._read), max(count, 0)))

    def _repr_html_(self) -> str | None:
        if not self._path.endswith("/neurons"):
            return None
        from client.html import neurons_html

        page = next(self._driver.pages(self._path, {"limit": _SHOWN} | dict(self._query)))
        return neurons_html([reader(NeuronRow)(row) for row in page["data"][:_SHOWN]], page.get("total"))


class AsyncRows(Generic[T]):
    """As Rows."""

    def __init__(
        self, driver: AsyncDriver, path: str, query: Mapping[str, Query], read: Callable[[Mapping[str, Any]], T]
    ) -> None:
        self._driver, self._path, self._query, self._read = driver, path, query, read

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self._driver.pages(self._path, self._query):
            for row in page["data"]:
                yield self._read(row)

    async def first(self, count: int) -> list[T]:
        """At most so many rows."""
        limit = {} if self._path == "/v1/models" or count < 1 else {"limit": min(count, 200)}
        found: list[T] = []
        async for row in AsyncRows(self._driver, self._path, limit | dict(self._query), self._read):
            if len(found) >= count:
                break
            found.append(row)
        return found


def _id(thing: str | Job | Batch) -> str:
    return thing if isinstance(thing, str) else thing.id


def _address(url: str | None) -> tuple[str]:
    return (url or os.environ.get("POLYSEME_URL") or DEFAULT_URL,)


def _key(api_key: str | None) -> str | None:
    return api_key or os.environ.get("POLYSEME_API_KEY") or None
