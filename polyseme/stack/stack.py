"""What `polyseme up` runs: a Redis-protocol server, the API and workers on one data folder. Decides
here, acts in `supervisor`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.board.connection import connect_redis
from polyseme.contract.board.exposure import is_loopback
from polyseme.contract.board.workers import worker_name
from polyseme.contract.settings import Settings
from polyseme.errors import CommandError
from polyseme.stack.child import SAFE_PYTHON, Child, Spec, tethered
from polyseme.stack.embedded_redis import find_server, server_command, socket_path
from polyseme.stack.supervisor import Member, Supervisor

_WORKER_NICE = 10  # somebody waits for the API's answers, and nobody for the next block of a job
_LOCK = "up.lock"
_URL = "redis.url"  # of the embedded server, while it runs
_REDIS_S = 120.0  # reading a large append-only file takes a while
_WORKER_S = 600.0  # so does converting a GGUF file, the first time


@dataclass(frozen=True)
class Options:
    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    catalogue: Path | None = None  # models.toml of the data folder
    redis_url: str | None = None  # of a server that runs already; None starts one
    verbose: bool = False
    api_key: str | None = (
        None  # for what is asked of the service itself, such as uploading the sample
    )

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def catalogue_path(self) -> Path:
        return self.catalogue or self.data / "models.toml"


@dataclass(frozen=True)
class Address:
    family: socket.AddressFamily
    host: str
    port: int
    is_local: bool  # only this machine can reach it


@dataclass(frozen=True)
class Holder:
    """Who uses a data folder."""

    pid: int
    url: str


def run_stack(
    options: Options,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    *,
    prepare: Callable[[], None] = lambda: None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Runs until a signal. `prepare` is called once the folder is ours, before anything starts.

    Raises CommandError, with exit code 2 for what was refused before anything was started.
    """
    address = resolve_address(options.host, options.port)
    settings = settings_for(options, environ)
    with lock_folder(options) as locks, redis_folder(options) as socket_file:
        check_port(address)
        if not address.is_local and settings.keyless != "any":
            require_keys(options, socket_file)
        prepare()
        members = [*_redis_members(options, environ, socket_file, locks)]
        url = options.redis_url or _socket_url(socket_file)
        ours = (
            dict(environ)
            | Settings.to_environ(settings)
            | {"REDIS_URL": url, "POLYSEME_REDIS_URL": url}
        )
        members += [
            _api_member(options, ours),
            *_worker_members(options, ours, url),
            _sender_member(options, ours),
        ]
        Supervisor(members, say, verbose=options.verbose).run(on_ready)


def resolve_address(host: str, port: int) -> Address:
    """The address to listen on. Raises CommandError when there is no such."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise CommandError(f"--host {host}: no such address ({e}).", exit_code=2) from e
    family, _, _, _, address = infos[0]
    return Address(family, str(address[0]), port, all(is_loopback(str(a[0])) for *_, a in infos))


def require_keys(options: Options, socket_file: Path) -> None:
    """Raises CommandError when others could reach the address and there is no API key.

    The folder's lock is held.
    """
    with server_for(options, socket_file) as url:
        has_keys = Board.connect(url).accounts.has_keys()
    if not has_keys:
        raise CommandError(
            f"--host {options.host}: others could reach this address, and there is no API key. "
            f"Make one with `polyseme "
            f"keys create --data {options.data}` first, or listen on 127.0.0.1.",
            exit_code=2,
        )


@contextmanager
def server_for(options: Options, socket_file: Path) -> Iterator[str]:
    """The URL of the given Redis, or of the folder's, which runs as long as the block.

    Its lock is held.
    """
    if options.redis_url:
        if not answers_ping(options.redis_url):
            raise CommandError(f"No Redis answers at {hide_password(options.redis_url)}.")
        yield options.redis_url
        return
    url = _socket_url(socket_file)
    command = server_command(find_server(), socket_file, (options.data / "redis").resolve())
    with subprocess.Popen(
        tethered(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _await_ping(url, server)
            yield url
        finally:
            server.terminate()


def _await_ping(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _REDIS_S
    while not answers_ping(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise CommandError("The embedded Redis did not start.")
        time.sleep(0.05)


def check_port(address: Address) -> None:
    """Raises CommandError when somebody else listens there."""
    with socket.socket(address.family, socket.SOCK_STREAM) as probe:
        # As gunicorn does: connections that linger after their listener has gone are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as e:
            other = address.port + 1 if address.port < 65535 else 8000
            raise CommandError(
                f"Port {address.port} of {address.host} cannot be used: "
                f"{os.strerror(e.errno or 0)}. "
                f"Choose another with `--port {other}` (make: `PORT={other}`).",
                exit_code=2,
            ) from e


def settings_for(options: Options, environ: Mapping[str, str]) -> Settings:
    """The children's settings: options first, then the environment, then the data folder's own
    places.
    """
    data = options.data.resolve()
    places = {"POLYSEME_STORE": str(data / "store"), "POLYSEME_CACHE": str(data / "cache")}
    chosen = {"POLYSEME_CATALOGUE": str(options.catalogue_path.resolve())}
    try:
        return Settings.from_environ(places | dict(environ) | chosen)
    except ValueError as e:
        raise CommandError(str(e), exit_code=2) from e


@contextmanager
def lock_folder(options: Options) -> Iterator[tuple[int, ...]]:
    """Holds the data folder for this process; gives the locks' file descriptors.

    Raises CommandError when it is held.

    The kernel lets a lock go when the last process that has the descriptor ends, so a stale file
    means nothing. The folder itself is locked too: the file may have been removed.
    """
    options.data.mkdir(parents=True, exist_ok=True)
    for name in ("logs", "redis", "store", "cache"):
        (options.data / name).mkdir(exist_ok=True)
    with open(options.data / _LOCK, "a+", encoding="utf-8") as file, _opened(options.data) as own:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _lock_itself(own)
        except OSError as e:
            holder = _read_holder(options.data)
            who = f"process {holder.pid}, at {holder.url}" if holder else "another process"
            raise CommandError(
                f"The data folder {options.data} is in use by {who}. Stop that first, or choose "
                f"another with `--data`.",
                exit_code=2,
            ) from e
        file.truncate(0)
        file.write(json.dumps(asdict(Holder(os.getpid(), options.url))))
        file.flush()
        try:
            yield file.fileno(), own
        finally:
            file.truncate(0)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_itself(folder: int) -> None:
    """Raises BlockingIOError when another process has it."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as e:
        # A network file system that locks nothing but files which are open to be written.
        if e.errno not in (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP):
            raise


def _read_holder(data: Path) -> Holder | None:
    try:
        return Holder(**json.loads((data / _LOCK).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def redis_folder(options: Options) -> Iterator[Path]:
    """A private folder for the embedded server; gives the path of its socket, which is noted beside
    it meanwhile.
    """
    folder = options.data / "redis"
    folder.chmod(0o700)
    note = folder / _URL
    with socket_path(folder) as path:
        note.write_text(_socket_url(path), encoding="utf-8")
        try:
            yield path
        finally:
            note.unlink(missing_ok=True)


def running_redis(data: Path) -> str | None:
    """The URL of the embedded server that runs on a data folder."""
    try:
        url = (data / "redis" / _URL).read_text(encoding="utf-8")
    except OSError:
        return None
    return url if answers_ping(url) else None


def _socket_url(path: Path) -> str:
    return f"unix://{path}?db=0"


def _redis_members(
    options: Options, environ: Mapping[str, str], path: Path, locks: tuple[int, ...]
) -> Iterator[Member]:
    """The embedded server; none when one was given, which is asked for a sign of life instead."""
    if options.redis_url:
        if not answers_ping(options.redis_url):
            raise CommandError(f"No Redis answers at {hide_password(options.redis_url)}.")
        return
    folder = options.data / "redis"
    # It inherits the locks, so that no second server opens its append-only file while it still
    # writes to it.
    spec = Spec(
        "redis",
        server_command(find_server(), path, folder.resolve()),
        environ,
        options.data / "logs",
        keep_open=locks,
    )
    yield Member(Child(spec), lambda: answers_ping(f"unix://{path}"), ready_s=_REDIS_S, rank=0)


def _api_member(options: Options, environ: Mapping[str, str]) -> Member:
    bind = options.url.removeprefix("http://")
    command = (*SAFE_PYTHON, "-m", "polyseme.stack.serve", "--bind", bind)
    spec = Spec("api", command, dict(environ) | {"PYTHONUNBUFFERED": "1"}, options.data / "logs")
    return Member(Child(spec), lambda: is_alive(options.url), ready_s=60.0, rank=1)


def _worker_members(
    options: Options, environ: Mapping[str, str], redis_url: str
) -> Iterator[Member]:
    board = Board.connect(redis_url)
    for number in range(1, options.workers + 1):
        # Killed outright when the supervisor is: Redis ends at the same moment, and a unit of work
        # can be repeated.
        spec = Spec(
            f"worker-{number}",
            (*SAFE_PYTHON, "-m", "polyseme.workers"),
            dict(environ) | {"PYTHONUNBUFFERED": "1", **_metrics_port(environ, number)},
            options.data / "logs",
            stop_s=20.0,
            nice=_WORKER_NICE,
            orphan_signal=signal.SIGKILL,
        )
        child = Child(spec)
        yield Member(
            child,
            _announced(board, child),
            ready_s=_WORKER_S,
            rank=2,
            slow_note="is describing the models; the first time that takes a while …",
        )


def _metrics_port(environ: Mapping[str, str], number: int) -> dict[str, str]:
    """Each worker's own: the first has the port of the settings, the others those after it."""
    first = int(environ.get("POLYSEME_METRICS_PORT", "0"))
    return {"POLYSEME_METRICS_PORT": str(first + number - 1)} if first else {}


def _sender_member(options: Options, environ: Mapping[str, str]) -> Member:
    """Delivers webhooks. Jobs need it not, so it is not waited for."""
    command = (*SAFE_PYTHON, "-m", "polyseme.service.webhooks.sender")
    spec = Spec("sender", command, dict(environ) | {"PYTHONUNBUFFERED": "1"}, options.data / "logs")
    child = Child(spec)
    return Member(child, child.is_running, ready_s=60.0, rank=2)


def _announced(board: Board, worker: Child) -> Callable[[], bool]:
    def is_there() -> bool:
        try:
            return worker.pid is not None and worker_name(worker.pid) in board.workers.list_names()
        except redis.RedisError:
            return False

    return is_there


def answers_ping(url: str) -> bool:
    try:
        with connect_redis(url) as server:
            return bool(server.ping())
    except (redis.RedisError, ValueError):
        return False


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def hide_password(url: str) -> str:
    return url.rpartition("@")[2].partition("?")[0]
