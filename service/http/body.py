"""A body: not long, and of JSON strictly that, of the right media type.

Few that take a while to read are at hand at once, and few of one tenant. A long one has a thread's
slot before it is received. Then it has its turn, and so has a short one of many values: reading it
keeps Python's lock from everybody else's request, so one after the other is read and checked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import IO, Any, Final

from flask import Request, g

from polyseme.contract.errors import MalformedRequest, TooLarge, Unavailable, UnsupportedMedia
from polyseme.contract.strict_json import parse_json
from polyseme.service.http.thread_slots import TenantSlots

LONG_BYTES: Final = 64 << 10
MANY_VALUES: Final = 4000  # a few milliseconds


class LargeBodies:
    """Of all requests of a process. Thread-safe."""

    def __init__(self, slots: TenantSlots) -> None:
        self._slots = slots
        self._turn = threading.Lock()

    def of(self, tenant: str) -> LargeBody:
        """For one request."""
        return LargeBody(self._slots, self._turn, tenant)


class LargeBody:
    """What one request holds on account of its body, until `end`. Used by one thread."""

    def __init__(self, slots: TenantSlots, turn: threading.Lock, tenant: str) -> None:
        self._slots = slots
        self._turn = turn
        self._tenant = tenant
        self._has_slot = False
        self._has_turn = False

    def expect(self, size: int | None) -> None:
        """Before a body of so many bytes is received; None: it does not say how many.

        Raises Unavailable.
        """
        if size is None or size > LONG_BYTES:
            self._take_slot()

    def look_at(self, body: bytes) -> None:
        """Before it is parsed: waits for its turn, if it needs one. Raises Unavailable."""
        # Each value but the first stands behind one of these. So do parts of texts. A long one is
        # not looked through: that alone takes a while.
        if len(body) > LONG_BYTES or body.count(b",") + body.count(b"\n") > MANY_VALUES:
            self._take_slot()
            self._turn.acquire()
            self._has_turn = True

    def end(self) -> None:
        """Once it is read and checked. May be called again."""
        if self._has_turn:
            self._turn.release()
        if self._has_slot:
            self._slots.release(self._tenant)
        self._has_turn = self._has_slot = False

    def _take_slot(self) -> None:
        if self._has_slot:
            return
        if not self._slots.acquire(self._tenant):
            raise Unavailable("too many large bodies are being read; try again", retry_after_s=2)
        self._has_slot = True


def read_json(request: Request, limit: int) -> Any:
    """Raises UnsupportedMedia, TooLarge beyond `limit` bytes, MalformedRequest, Unavailable."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia(f"Content-Type {request.content_type!r}: send application/json")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMedia("JSON is UTF-8")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Content-Encoding of a JSON body: none is taken")
    if (request.content_length or 0) > limit:
        raise TooLarge(
            f"the body has {request.content_length} bytes, at most {limit} are taken; upload a "
            f"corpus instead"
        )
    return parse_json(read_bytes(request, limit))


def read_bytes(request: Request, limit: int) -> bytes:
    """What is sent, once it may be parsed. Raises TooLarge, Unavailable, MalformedRequest."""
    large: LargeBody = g.large_body
    large.expect(request.content_length)
    read, pieces, left = reader_of(request), [], limit + 1
    while left and (piece := read(left)):
        pieces.append(piece)
        left -= len(piece)
    body = b"".join(pieces)
    if not left:
        raise TooLarge(f"the body has more than {limit} bytes; upload a corpus instead")
    large.look_at(body)
    return body


def read_to(request: Request, file: IO[bytes], limit: int) -> int:
    """Writes what is sent to a file, and says how much it is.

    Raises TooLarge, Unavailable, MalformedRequest.
    """
    large: LargeBody = g.large_body
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body has {request.content_length} bytes, at most {limit} are taken")
    large.expect(request.content_length)
    read, came = reader_of(request), 0
    while piece := read(LONG_BYTES):
        came += len(piece)
        if came > limit:
            raise TooLarge(f"the body has more than {limit} bytes")
        file.write(piece)
    return came


def reader_of(request: Request) -> Callable[[int], bytes]:
    """Reads at most so many bytes of a body, none at its end.

    It raises MalformedRequest where that comes before as many as the request said, as when a client
    dies: servers end the body there, and half a text would be taken for the whole.
    """
    length, came = request.content_length, 0

    def read(size: int) -> bytes:
        nonlocal came
        piece = request.stream.read(size)
        came += len(piece)
        if not piece and size and length is not None and came < length:
            raise MalformedRequest(f"the body ends early: {came} bytes of {length}")
        return piece

    return read


def has_left(request: Request) -> bool:
    """Whether nobody waits for the answer any more, as far as the server tells."""
    ask = getattr(request.environ.get("gunicorn.socket"), "has_left", None)
    return bool(ask is not None and ask())
