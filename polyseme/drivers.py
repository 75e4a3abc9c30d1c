"""What carries out steps over httpx: a driver that blocks, and one for asyncio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from polyseme.feed import Feed
from polyseme.operations import Operations
from polyseme.problems import Unreachable
from polyseme.steps import Answer, Call, Json, Pause, Query, Scalar, Steps

T = TypeVar("T")

_log = logging.getLogger("polyseme.client")


class _Base:
    def __init__(self, url: str, api_key: str | None, timeout_s: float, patience_s: float) -> None:
        self.url = url.rstrip("/")
        self.operations = Operations(patience_s)
        self._base = urlsplit(self.url).path
        # Proxies of the environment are not for a service on this machine or in its network.
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            "timeout": timeout_s,
            "trust_env": False,
        }

    def _next_page(self, answer: Answer) -> str | None:
        """The path below the service's URL, which a link through a proxy's prefix begins with."""
        page = answer.next_page
        if page is not None and page.startswith(f"{self._base}/"):
            return page[len(self._base) :]
        return page

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(f"No answer from {self.url}: {error or type(error).__name__}")


class Driver(_Base):
    """Thread-safe, as httpx's client is."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, patience_s: float) -> None:
        super().__init__(url, api_key, timeout_s, patience_s)
        self._http = httpx.Client(**self._options)

    def close(self) -> None:
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = self._act(step)
                except Unreachable as e:
                    step = steps.throw(e)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return end.value

    def pages(self, path: str, query: Mapping[str, Query]) -> Iterator[Json]:
        """The pages of a list, each when it is asked for."""
        answer = self.run(self.operations.send("GET", path, query=query))
        yield answer.json()
        while page := self._next_page(answer):
            answer = self.run(self.operations.send("GET", page))
            yield answer.json()

    def states(self, job: str, patience_s: float | None) -> Iterator[Json]:
        """A job's states as its events tell them, up to its end."""
        feed = Feed(job)
        while not feed.has_ended:
            answer = self.run(self.operations.open_feed(feed, patience_s))
            with (
                closing(answer.stream) as response,
                suppress(httpx.TransportError),
            ):  # what is cut short is begun anew
                for piece in response.iter_bytes():
                    yield from feed.take(piece)

    def _act(self, step: Call | Pause) -> Answer | None:
        if isinstance(step, Pause):
            _tell(step)
            time.sleep(step.seconds)
            return None
        content = step.content() if step.content else None
        try:
            response = self._http.send(
                self._http.build_request(**_arguments(step), content=content), stream=True
            )
            if step.is_stream and response.is_success:
                return Answer(response.status_code, response.headers, stream=response)
            with closing(response):
                if step.sink is None or response.is_error:
                    return Answer(response.status_code, response.headers, response.read())
                size = sum(step.sink.write(chunk) for chunk in response.iter_bytes())
                return Answer(response.status_code, response.headers, size=size)
        except httpx.TransportError as e:
            raise self._unreachable(e) from e


class AsyncDriver(_Base):
    def __init__(self, url: str, api_key: str | None, timeout_s: float, patience_s: float) -> None:
        super().__init__(url, api_key, timeout_s, patience_s)
        self._http = httpx.AsyncClient(**self._options)

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._act(step)
                except Unreachable as e:
                    step = steps.throw(e)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return end.value

    async def pages(self, path: str, query: Mapping[str, Query]) -> AsyncIterator[Json]:
        """The pages of a list, each when it is asked for."""
        answer = await self.run(self.operations.send("GET", path, query=query))
        yield answer.json()
        while page := self._next_page(answer):
            answer = await self.run(self.operations.send("GET", page))
            yield answer.json()

    async def states(self, job: str, patience_s: float | None) -> AsyncGenerator[Json]:
        """As Driver.states."""
        feed = Feed(job)
        while not feed.has_ended:
            answer = await self.run(self.operations.open_feed(feed, patience_s))
            async with aclosing(answer.stream) as response:
                with suppress(httpx.TransportError):
                    async for piece in response.aiter_bytes():
                        for state in feed.take(piece):
                            yield state

    async def _act(self, step: Call | Pause) -> Answer | None:
        if isinstance(step, Pause):
            _tell(step)
            await asyncio.sleep(step.seconds)
            return None
        content = _drawn(step.content()) if step.content else None
        try:
            response = await self._http.send(
                self._http.build_request(**_arguments(step), content=content), stream=True
            )
            if step.is_stream and response.is_success:
                return Answer(response.status_code, response.headers, stream=response)
            async with aclosing(response):
                if step.sink is None or response.is_error:
                    return Answer(response.status_code, response.headers, await response.aread())
                size = 0
                async for chunk in response.aiter_bytes():
                    size += await asyncio.to_thread(step.sink.write, chunk)
                return Answer(response.status_code, response.headers, size=size)
        except httpx.TransportError as e:
            raise self._unreachable(e) from e


def _arguments(call: Call) -> dict[str, Any]:
    arguments = {
        "method": call.method,
        "url": call.path,
        "headers": dict(call.headers),
        "json": call.body,
    }
    # httpx drops the query of the URL when it is given another, even an empty one.
    return arguments | ({"params": given} if (given := _given(call.query)) else {})


def _given(query: Mapping[str, Query]) -> dict[str, str]:
    """Without what is None."""
    return {name: _spell(value) for name, value in query.items() if value is not None}


def _spell(value: Scalar | Sequence[Scalar]) -> str:
    """As the API does: a list with commas, a boolean in small letters."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_spell, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _drawn(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    """What is read from a file is read beside the loop, not in it."""
    pieces = iter(content)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _tell(pause: Pause) -> None:
    if pause.why:
        _log.warning("%s", pause.why)
