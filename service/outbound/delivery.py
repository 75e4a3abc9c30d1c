"""One attempt to deliver one event: resolve, check, connect to an address that was checked, post,
read the status.

Knows nothing of jobs and of the board. No redirect is followed, no proxy is used, no body is read.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore

from polyseme.contract import __version__
from polyseme.service.outbound.addresses import (
    Address,
    AddressRefused,
    Allowed,
    Resolve,
    check_target,
    parse_url,
    resolve_host,
)

# of one attempt, once the name is resolved: connecting, TLS, sending and the answer's headers
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """An answer's status, or why there was none."""

    status: int | None
    error: str | None  # None when it was taken

    @property
    def is_final(self) -> bool:
        """Whether another attempt makes no sense: it was taken, or the receiver says it is gone for
        good.
        """
        return self.error is None or self.status == 410


class Poster:
    """Thread-safe. Makes a connection an attempt: a receiver hears of a job now and then."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        resolve: Resolve = resolve_host,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._timeout_s = timeout_s
        self._tls = tls or trusted_authorities()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Raises nothing: what went wrong is in the outcome."""
        try:
            status = self._send(url, body, headers)
        except AddressRefused as e:
            return Outcome(None, f"refused: {e}")
        except httpcore.TimeoutException:
            return Outcome(None, f"no answer within {self._timeout_s:.0f} s")
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as e:
            return Outcome(None, f"{type(e).__name__}: {e}")
        return Outcome(status, None if 200 <= status < 300 else f"answered {status}")

    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        target = parse_url(url)
        backend = PinnedBackend(check_target(target, self._allowed, self._resolve), self._timeout_s)
        # Made of the parts that were checked: the text is not parsed a second time, perhaps
        # otherwise.
        where = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        sent = {
            "Host": target.authority,
            "User-Agent": f"Polyseme/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream(
                "POST", where, headers=[*sent.items(), *headers.items()], content=body
            ) as answer,
        ):
            return int(answer.status)


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to addresses given beforehand, whatever host is asked for, and to the end of one
    deadline.
    """

    def __init__(self, addresses: Sequence[Address], timeout_s: float) -> None:
        self._addresses = addresses
        self._deadline = time.monotonic() + timeout_s
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._addresses:
            try:
                stream = self._real.connect_tcp(str(address), port, time_left(self._deadline))
                return TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failure = e
        raise failure or httpcore.ConnectError(f"{host} has no address")


class TimedStream(httpcore.NetworkStream):
    """A stream with one deadline for all that is done with it: a receiver that drips cannot hold it
    longer.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, time_left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, time_left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, time_left(self._deadline))
        return TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def time_left(deadline: float) -> float:
    """Seconds. Raises ReadTimeout when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left


def trusted_authorities() -> ssl.SSLContext:
    """certifi's, and those of the system or of SSL_CERT_FILE."""
    context: ssl.SSLContext = httpcore.default_ssl_context()
    context.load_default_certs()
    return context
