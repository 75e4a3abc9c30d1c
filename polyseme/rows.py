"""The service's lists, whose pages are asked for as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

from polyseme.drivers import AsyncDriver, Driver
from polyseme.html import neurons_html
from polyseme.reading import Record, read
from polyseme.reports import NeuronRow
from polyseme.steps import Query

R = TypeVar("R", bound=Record)

_SHOWN = 20  # rows of a list in a notebook
_LARGEST_PAGE = 200


class Rows(Generic[R]):
    """A list of the service's.

    Each walk through it asks anew, page by page, as far as it is read.
    """

    def __init__(
        self, driver: Driver, path: str, query: Mapping[str, Query], kind: type[R]
    ) -> None:
        self._driver, self._path, self._query, self._kind = driver, path, query, kind

    def __iter__(self) -> Iterator[R]:
        return self._walk(self._query)

    def first(self, count: int) -> list[R]:
        """At most so many rows."""
        query = _with_limit(self._path, self._query, count)
        return list(islice(self._walk(query), max(count, 0)))

    def _walk(self, query: Mapping[str, Query]) -> Iterator[R]:
        for page in self._driver.pages(self._path, query):
            for row in page["data"]:
                yield read(self._kind, row)

    def _repr_html_(self) -> str | None:
        if self._kind is not NeuronRow:
            return None
        page = next(self._driver.pages(self._path, {"limit": _SHOWN, **self._query}))
        rows = [read(NeuronRow, row) for row in page["data"][:_SHOWN]]
        return neurons_html(rows, page.get("total"))


class AsyncRows(Generic[R]):
    """A list of the service's.

    Each walk through it asks anew, page by page, as far as it is read.
    """

    def __init__(
        self, driver: AsyncDriver, path: str, query: Mapping[str, Query], kind: type[R]
    ) -> None:
        self._driver, self._path, self._query, self._kind = driver, path, query, kind

    def __aiter__(self) -> AsyncIterator[R]:
        return self._walk(self._query)

    async def first(self, count: int) -> list[R]:
        """At most so many rows."""
        rows: list[R] = []
        async for row in self._walk(_with_limit(self._path, self._query, count)):
            if len(rows) >= count:
                break
            rows.append(row)
        return rows

    async def _walk(self, query: Mapping[str, Query]) -> AsyncIterator[R]:
        async for page in self._driver.pages(self._path, query):
            for row in page["data"]:
                yield read(self._kind, row)


def _with_limit(path: str, query: Mapping[str, Query], count: int) -> Mapping[str, Query]:
    """A page no larger than what is asked for. Lists of the catalogue have no pages."""
    if path in ("/v1/models", "/v1/dictionaries") or count < 1:
        return query
    return {"limit": min(count, _LARGEST_PAGE), **query}
