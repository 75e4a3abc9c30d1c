"""gunicorn's threaded worker, for clients that send slowly, on purpose or not.

A connection gets a thread once the whole header of its request has arrived; until then the poller
holds it. While a body arrives, a thread that waits for it holds one of the service's slots, and
none longer than the body's size earns. So whoever only sends slowly keeps neither the other
clients' requests nor health checks from being answered.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from polyseme.contract.errors import TooSlow, Unavailable
from polyseme.service.http.prefix import settle_script_name
from polyseme.service.http.thread_slots import SERVER_KEY, ServerHooks, ThreadSlots

# From the connection, or the first byte of a later request, to the end of the header.
HEADER_S = 10.0
BODY_S = 10.0  # for a body, and a second more for each BODY_RATE bytes that came
BODY_RATE = 16 << 10
SEND_S = 60.0  # for a piece of an answer
_PEEK = 1 << 16


class DeadlineSocket:
    """A connection's socket that waits for a body only within limits.

    All else it does as the socket does.
    """

    def __init__(self, sock: socket.socket, slots: ThreadSlots) -> None:
        self._sock = sock
        self._slots = slots
        self._deadline = 0.0  # of the monotonic clock
        self.in_body = False
        self.is_spent = False  # a limit was reached: nothing more is read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def begin(self) -> None:
        self._deadline = time.monotonic() + BODY_S
        self.in_body = False

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
                self._wait()
            except (TooSlow, Unavailable):
                self.is_spent = True
                if self.in_body:
                    raise
                return b""
            received = self._sock.recv(size, flags)
        self._deadline += len(received) / BODY_RATE
        return received

    def _wait(self) -> None:
        if not self._slots.acquire():
            raise Unavailable(
                "too many requests are waiting for their bodies; try again", retry_after_s=5
            )
        try:
            poller = select.poll()
            poller.register(self._sock, select.POLLIN)
            if not poller.poll(max(self._deadline - time.monotonic(), 0) * 1000):
                raise TooSlow(
                    f"the body came too slowly: {BODY_S:.0f} s, and 1 s more for each "
                    f"{BODY_RATE} bytes"
                )
        finally:
            self._slots.release()

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(SEND_S)
        try:
            self._sock.sendall(data)
        finally:
            self._sock.setblocking(True)

    def sendfile(self, *arguments: Any, **options: Any) -> int:
        self._sock.settimeout(SEND_S)
        try:
            return self._sock.sendfile(*arguments, **options)
        finally:
            self._sock.setblocking(True)

    def has_header(self) -> bool:
        """Whether a whole header is there to read, or whatever else a thread should see.

        Reads nothing.

        Otherwise the poller is told of the socket only when there is more: a level of bytes, else
        it would turn round and round on what is there already.
        """
        # A proxy's, which knows no such level; it buffers anyhow.
        if self._sock.family == socket.AF_UNIX:
            return True
        try:
            there = self._sock.recv(_PEEK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        is_whole = not there or b"\r\n\r\n" in there or len(there) == _PEEK
        self._sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if is_whole else len(there) + 1
        )
        return is_whole


class SlowClientWorker(ThreadWorker):
    """Of gunicorn 27.

    With TLS of its own it is gunicorn's worker as it is: a socket's bytes are no header then.
    So it is for another application than this service's."""

    def accept(self, listener: socket.socket) -> None:
        hooks = self._hooks()
        if self.cfg.is_ssl or hooks is None:
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        sock = DeadlineSocket(client, hooks.bodies)
        self._await_header(TConn(self.cfg, sock, address, listener.getsockname()))

    def _await_header(self, conn: TConn) -> None:
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + HEADER_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: TConn, client: Any) -> None:
        if not isinstance(conn.sock, DeadlineSocket) or conn.sock.has_header():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: TConn, client: Any) -> None:
        """A kept connection has something to read."""
        if not isinstance(conn.sock, DeadlineSocket) or conn.sock.has_header():
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await_header(conn)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Clients that wait for jobs are answered now: the service is to end, or to start again."""
        if (hooks := self._hooks()) is not None:
            hooks.end_waits()
        super().handle_exit(sig, frame)

    def _hooks(self) -> ServerHooks | None:
        """None while the process starts, and for an application that is not this service's."""
        extensions: dict[str, Any] = getattr(getattr(self, "wsgi", None), "extensions", {})
        return extensions.get(SERVER_KEY)

    def handle(self, conn: TConn) -> Any:
        if isinstance(conn.sock, DeadlineSocket):
            conn.sock.begin()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        if isinstance(conn.sock, DeadlineSocket):
            conn.sock.in_body = True
        req.headers = settle_script_name(req.headers, req.path)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        is_spent = isinstance(conn.sock, DeadlineSocket) and conn.sock.is_spent
        return bool(super()._keepalive_after(conn, keepalive and not is_spent))
