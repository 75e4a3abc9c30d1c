"""gunicorn's threaded worker, for clients that send or read slowly, on purpose or not.

A connection gets a thread once the whole header of its request has arrived, with the body if that
is small; until then the poller holds it. It is the poller, too, that sends what a client does not
read at once; for clients to close waits a thread of its own. So whoever is slow keeps neither the
other clients' requests nor health checks from being answered. Those have threads of their own.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from polyseme.service.http.deadline_socket import DeadlineSocket, Room
from polyseme.service.http.prefix import settle_script_name
from polyseme.service.http.thread_slots import SERVER_KEY, ServerHooks

# From the connection, or the first byte of a later request, to the end of the header, and of a body
# that fits beside it.
HEADER_S = 10.0
LINGER_S = 3.0  # for a client to close after its answer
LINGER_BYTES = 8 << 20  # that are passed over meanwhile, at most
_LINGERING = 256  # clients at most
_PIECE = 1 << 20
_ENOUGH = 1 << 18  # bytes that are passed over at once, or the thread would be called for each few
# Bytes a second of all these clients together, or those who send what is refused keep a core busy
# with moving it.
_PASSED_RATE = 100 << 20
_TURN_S = 0.25  # between two looks at who has taken too long
_SPARE = 32  # connections: when fewer are left, the one that waits longest for a request has to go

_ACCEPTED = 16  # connections in one turn of the poller, at most; it also has requests to give out
# A thread that works is asked to let others have Python's lock after so long. A connection needs it
# a dozen times until it is answered, and others stand in line each time: with Python's own 5 ms
# half a second went by where bodies were read all the time.
_SWITCH_S = 1e-3

# Paths that nobody else's requests keep waiting, and the threads for each.
OWN_THREADS = {b"/livez": 1, b"/readyz": 2}


class Lingering:
    """Connections that are answered, and closed once the client has: at once, it would lose an
    answer that it has not read while it still sends. What it sends is passed over by a thread that
    does nothing else. `add` may be called by any thread.
    """

    def __init__(self) -> None:
        self._came: SimpleQueue[DeadlineSocket] = SimpleQueue()
        self._held: dict[DeadlineSocket, tuple[float, int]] = {}  # until when, bytes
        self._passed_over = bytearray(_PIECE)
        self._selector = DefaultSelector()
        self._bell, bell = socket.socketpair()
        for end in (self._bell, bell):
            end.setblocking(False)
        self._selector.register(bell, EVENT_READ)
        threading.Thread(target=self._run, args=(bell,), name="lingering", daemon=True).start()

    def add(self, sock: DeadlineSocket) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _ENOUGH)
            sock.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            sock.close()
            return
        self._came.put(sock)
        with suppress(BlockingIOError):  # it rings already
            self._bell.send(b"!")

    def _run(self, bell: socket.socket) -> None:
        while True:
            passed = 0
            for key, _ in self._selector.select(_TURN_S if self._held else None):
                if key.fileobj is bell:
                    bell.recv(_PIECE)
                elif isinstance(key.fileobj, DeadlineSocket):
                    passed += self._pass_over(key.fileobj)
            time.sleep(passed / _PASSED_RATE)
            while not self._came.empty():
                self._take(self._came.get())
            now = time.monotonic()
            for sock in [s for s, (until, _) in self._held.items() if until <= now]:
                self._end(sock)

    def _take(self, sock: DeadlineSocket) -> None:
        if len(self._held) >= _LINGERING:
            self._end(next(iter(self._held)))
        try:
            self._selector.register(sock, EVENT_READ)
        except (OSError, ValueError, KeyError):
            sock.close()
            return
        self._held[sock] = (time.monotonic() + LINGER_S, LINGER_BYTES)

    def _pass_over(self, sock: DeadlineSocket) -> int:
        """How many bytes."""
        until, left = self._held[sock]
        try:
            # MSG_TRUNC: Linux drops it without a copy.
            flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
            size = sock._sock.recv_into(self._passed_over, _PIECE, flags)
        except BlockingIOError:
            return 0
        except OSError:
            size = 0
        self._held[sock] = (until, left - size)
        if not size or left <= size:
            self._end(sock)
        return size

    def _end(self, sock: DeadlineSocket) -> None:
        del self._held[sock]
        with suppress(OSError, KeyError, ValueError):
            self._selector.unregister(sock)
        sock.close()


class Connection(TConn):
    """One that is closed without a thread, or the poller, waiting for the client."""

    def __init__(self, worker: SlowClientWorker, *arguments: Any) -> None:
        super().__init__(worker.cfg, *arguments)
        self._worker = worker
        self.is_late = False

    def close(self, graceful: bool = False) -> None:
        if graceful and not self.sock.is_cut:
            self._worker.lingering.add(self.sock)
        else:
            self.sock.close()


class SlowClientWorker(ThreadWorker):
    """Of gunicorn 27.

    With TLS of its own it is gunicorn's worker as it is: a socket's bytes are no header then.
    So it is for another application than this service's."""

    def init_process(self) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._room = Room()
        self._pools = {
            path: ThreadPoolExecutor(threads, thread_name_prefix=path.decode())
            for path, threads in OWN_THREADS.items()
        }
        self._sending: dict[DeadlineSocket, tuple[Connection, Future[Any]]] = {}
        self.lingering = Lingering()
        # A file is sent by a thread that waits for the client, and not counted.
        self.cfg.set("sendfile", False)
        super().init_process()

    # Before a request has a thread

    def accept(self, listener: socket.socket) -> None:
        hooks = self._hooks()
        if self.cfg.is_ssl or hooks is None:
            super().accept(listener)
            return
        for _ in range(_ACCEPTED):
            try:
                client, address = listener.accept()
            except OSError as e:
                if e.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                    return
                raise
            self.nr_conns += 1
            sock = DeadlineSocket(client, hooks, self._room)
            self._await_header(Connection(self, sock, address, listener.getsockname()))
            if self.nr_conns > self.worker_connections - _SPARE:
                self._drop_oldest()

    def _await_header(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + HEADER_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _drop_oldest(self) -> None:
        """Else whoever opens many connections and asks for nothing leaves none to others."""
        waiting = self.pending_conns if len(self.pending_conns) > 1 else self.keepalived_conns
        if waiting:
            conn = waiting.popleft()
            self._unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if not isinstance(conn, Connection) or conn.sock.is_due():
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """A kept connection has something to read."""
        if not isinstance(conn, Connection) or conn.sock.is_due():
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await_header(conn)

    def enqueue_req(self, conn: Any) -> None:
        own = self._pools.get(conn.sock.path) if isinstance(conn, Connection) else None
        if own is None:
            super().enqueue_req(conn)
            return
        handled = own.submit(self.handle, conn)
        handled.add_done_callback(lambda f: self.method_queue.defer(self.finish_request, conn, f))

    def murder_pending(self) -> None:
        """Called at every turn of the poller: ends what has taken too long."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            conn = self.pending_conns[0]
            if not isinstance(conn, Connection) or not conn.sock.has_header:
                super().murder_pending()
                continue
            # It gets an answer, which says that its body came too slowly.
            conn.is_late = True
            super().on_pending_socket_readable(conn, conn.sock)
        for sock in [s for s in self._sending if s.send_deadline <= now]:
            sock.cut()
            self._send_rest(sock)

    # While it has one

    def handle(self, conn: Any) -> Any:
        if isinstance(conn, Connection):
            conn.sock.begin(is_late=conn.is_late)
            conn.is_late = False
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        if isinstance(conn, Connection):
            conn.sock.in_body = True
            conn.sock.message = (conn.parser, req)
        req.headers = settle_script_name(req.headers, req.path)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        if not isinstance(conn, Connection):
            return bool(super()._keepalive_after(conn, keepalive))
        conn.sock.may_wait = False
        kept = super()._keepalive_after(conn, keepalive and not conn.sock.is_spent)
        # A body that ended early is none that was read to its end.
        return bool(kept) and not conn.sock.is_spent

    # After that

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        if isinstance(conn, Connection) and conn.sock.has_kept:
            self._sending[conn.sock] = (conn, fs)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, EVENT_WRITE, self._send_rest)
        elif isinstance(conn, Connection) and conn.sock.is_cut:
            self.nr_conns -= 1
            conn.close()
        else:
            super().finish_request(conn, fs)

    def _send_rest(self, sock: DeadlineSocket) -> None:
        if sock.send_kept():
            self._unregister(sock)
            self.finish_request(*self._sending.pop(sock))

    def _unregister(self, sock: DeadlineSocket) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(sock)

    # The process

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Clients that wait for jobs are answered now: the service is to end, or to start again."""
        if (hooks := self._hooks()) is not None:
            hooks.end_waits()
        super().handle_exit(sig, frame)

    def _hooks(self) -> ServerHooks | None:
        """None while the process starts, and for an application that is not this service's."""
        extensions: dict[str, Any] = getattr(getattr(self, "wsgi", None), "extensions", {})
        return extensions.get(SERVER_KEY)
