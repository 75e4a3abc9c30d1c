"""A client's connection, and what it lets a thread wait for. Knows no poller and no HTTP but where
a header ends.

A thread waits for a client, reading or sending, with a slot or not at all. What an answer leaves
behind when the client does not read it at once is kept here, up to a megabyte, and the thread goes.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from polyseme.contract.errors import TooSlow, Unavailable
from polyseme.service.http.thread_slots import ServerHooks

BODY_S = 10.0  # for a body, and a second more for each BODY_RATE bytes that came
BODY_RATE = 16 << 10
SEND_S = 60.0  # for an answer that is not read at once, and a second more for each SEND_RATE bytes
SEND_RATE = 16 << 10
KEPT_BYTES = 1 << 20  # of one answer
KEPT_OF_ALL_BYTES = 32 << 20
LEFT_BYTES = 1 << 16  # of a body that nobody reads: as much is passed over, if it is there already
PEEK_BYTES = 1 << 16

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_OTHER_BODY = re.compile(rb"\r\n(?:transfer-encoding|expect):", re.IGNORECASE)
_PATH = re.compile(rb"(?:GET|HEAD) ([^ ?]+)")


class Room:
    """Bytes of answers that all connections together may keep. Thread-safe."""

    def __init__(self, size: int = KEPT_OF_ALL_BYTES) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


class DeadlineSocket:
    """A connection's socket. All that is not here it does as the socket does."""

    def __init__(self, sock: socket.socket, hooks: ServerHooks, room: Room) -> None:
        self._sock = sock
        self._bodies = hooks.bodies
        self._readers = hooks.readers
        self._room = room
        self._deadline = 0.0  # of the monotonic clock, for what is read
        self._peeked = -1  # bytes that were there at the last look
        self._kept: deque[memoryview] = deque()
        self._kept_bytes = 0
        self.send_deadline = 0.0
        self.in_body = False
        self.may_wait = True  # for what is to be read
        self.is_spent = False  # a limit was reached: nothing more is read
        self.is_cut = False  # nothing more is sent
        self.has_header = False  # whole, and not yet read
        self.path = b""  # of a GET without a body that was not yet read
        self.message: Any = None  # the parser of the connection, and the request, for `leave_body`

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Passed over: with one, Python waits before it receives, whatever the flags say, so that
        gunicorn's discarding of a body would hold the thread.
        """

    # Before a thread has it

    def is_due(self) -> bool:
        """Whether there is something for a thread: a whole header, with the body if that is small.

        Reads nothing.

        Otherwise the poller is told of the socket only when there is more: a level of bytes, else
        it would turn round and round on what is there already.
        """
        # A proxy's, which knows no such level; it buffers anyhow.
        if self._sock.family == socket.AF_UNIX:
            return True
        try:
            there = self._sock.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        # Nothing more will come where the level was not reached: the client has ended its side.
        is_over = not there or len(there) == self._peeked
        wanted = min(self._count_wanted(there), PEEK_BYTES)
        is_due = is_over or len(there) >= wanted
        self._peeked = -1 if is_due else len(there)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if is_due else wanted)
        return is_due

    def _count_wanted(self, there: bytes) -> int:
        """How many bytes must be there before a thread gets the connection."""
        end = there.find(_END)
        if end < 0:
            return len(there) + 1
        header, size = there[: end + 2], end + len(_END)
        self.has_header = True
        length = _LENGTH.search(header)
        self.path = b""
        if _OTHER_BODY.search(header) or (length and size + int(length[1]) > PEEK_BYTES):
            return size
        if length is None and (asked := _PATH.match(header)):
            self.path = asked[1]
        return size + (int(length[1]) if length else 0)

    # Reading

    def begin(self, *, is_late: bool = False) -> None:
        """A thread has it now. is_late: what is not there by now comes too slowly."""
        self._deadline = time.monotonic() + (0.0 if is_late else BODY_S)
        self.in_body = self.has_header = False
        self.may_wait = True
        self.path = b""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises TooSlow or Unavailable while a body is read; in a header, what comes too late is
        the end.
        """
        if self.is_spent:
            return b""
        try:
            received = self._sock.recv(size, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            try:
                self._wait_for_body()
            except (TooSlow, Unavailable):
                self.is_spent = True
                if self.in_body and self.may_wait:
                    raise
                return b""
            received = self._sock.recv(size, flags)
        self._deadline += len(received) / BODY_RATE
        return received

    def _wait_for_body(self) -> None:
        if not self.may_wait:
            raise TooSlow("nobody waits for the rest of this body")
        if not self._bodies.acquire():
            raise Unavailable(
                "too many requests are waiting for their bodies; try again", retry_after_s=5
            )
        try:
            if not self._poll(select.POLLIN, self._deadline):
                raise TooSlow(
                    f"the body came too slowly: {BODY_S:.0f} s, and 1 s more for each "
                    f"{BODY_RATE} bytes"
                )
        finally:
            self._bodies.release()

    def has_left(self) -> bool:
        """Whether the client has closed, or ended its side."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def leave_body(self) -> None:
        """Nobody reads the rest of the present request's body, and no thread waits for it: unless
        it is there already, the connection ends with the answer.
        """
        self.may_wait = False
        if self.message is None:
            return
        parser, request = self.message
        with suppress(Exception):
            is_read = not self.is_spent and parser.finish_body(
                deadline=time.monotonic() + 1.0, max_bytes=LEFT_BYTES
            )
            # A body that ended early is none that was read to its end.
            if is_read and not self.is_spent:
                return
        self.is_spent = True
        request.force_close()

    # Sending

    def sendall(self, data: bytes) -> None:
        """Sends what goes now and keeps the rest. Waits for the client only when that is more than
        may be kept. Raises BrokenPipeError when it does not read, and when too many do not.
        """
        rest = memoryview(data)
        while True:
            if self.send_kept():
                rest = rest[self._send(rest) :]
            if self.is_cut:
                raise BrokenPipeError(32, "the client does not read its answer")
            if not rest or self._keep(rest):
                return
            self._wait_for_reader()

    def send_kept(self) -> bool:
        """Sends of what is kept as much as goes now. Whether nothing is left."""
        while self._kept and not self.is_cut:
            size = self._send(self._kept[0])
            self._forget(size)
            if self._kept and size < len(self._kept[0]):
                self._kept[0] = self._kept[0][size:]
                break
            if self._kept:
                self._kept.popleft()
        return not self._kept

    @property
    def has_kept(self) -> bool:
        return bool(self._kept)

    def cut(self) -> None:
        """Throws away what was kept."""
        self.is_cut = True
        self._kept.clear()
        self._forget(self._kept_bytes)

    def close(self) -> None:
        self.cut()
        self._sock.close()

    def _send(self, data: memoryview) -> int:
        """How many bytes went."""
        sent = 0
        try:
            while sent < len(data):
                sent += self._sock.send(data[sent:], socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            self.cut()
        self.send_deadline += sent / SEND_RATE
        return sent

    def _keep(self, rest: memoryview) -> bool:
        size = len(rest)
        if self._kept_bytes + size > KEPT_BYTES or not self._room.take(size):
            return False
        if not self._kept:
            self.send_deadline = time.monotonic() + SEND_S
        self._kept.append(rest)
        self._kept_bytes += size
        return True

    def _forget(self, size: int) -> None:
        size = min(size, self._kept_bytes)
        self._kept_bytes -= size
        self._room.give_back(size)

    def _wait_for_reader(self) -> None:
        if not self._kept:
            self.send_deadline = time.monotonic() + SEND_S
        if not self._readers.acquire():
            self.cut()
            return
        try:
            if not self._poll(select.POLLOUT, self.send_deadline):
                self.cut()
        finally:
            self._readers.release()

    def _poll(self, event: int, deadline: float) -> bool:
        poller = select.poll()
        poller.register(self._sock, event)
        return bool(poller.poll(max(deadline - time.monotonic(), 0) * 1000))
