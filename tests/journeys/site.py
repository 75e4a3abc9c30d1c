"""Redis, a store and workers under a test's hands, to be broken one by one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from polyseme.stack.child import SAFE_PYTHON
from polyseme.workers.worker import publish_cards
from tests.client.standins import PATIENCE, free_port
from tests.factories import add_corpus, make_texts, open_job
from tests.journeys.conftest import MODEL, prepare_data
from tests.nursery import Nursery
from tests.servers import RedisServer

CONTEXTS = {"window": 32, "top_k": 8, "tails": "both"}


@dataclass
class Site:
    server: RedisServer
    nursery: Nursery
    data: Path
    settings: Settings
    started: dict[int, Path] = field(default_factory=dict)  # the log of each worker
    beside: dict[str, str] = field(default_factory=dict)  # more variables of what is started

    @property
    def board(self) -> Board:
        return Board.connect(self.server.url)

    @property
    def store(self) -> Store:
        return Store(self.settings.store)

    def start_worker(self, **sabotage: Any) -> int:
        log = self.data / "logs" / f"worker-{len(self.started)}.log"
        pid = self.nursery.start(self.environ | {"SABOTAGE": json.dumps(sabotage)}, log)
        self.started[pid] = log
        return pid

    @property
    def environ(self) -> dict[str, str]:
        own = {"REDIS_URL": self.server.url, "OMP_NUM_THREADS": "1"}
        return self.settings.to_environ() | own | self.beside

    @contextmanager
    def with_settings(self, **changes: Any) -> Iterator[None]:
        """Of what is started meanwhile."""
        before, self.settings = self.settings, replace(self.settings, **changes)
        try:
            yield
        finally:
            self.settings = before

    def submit(self, corpus: str = "notes", **changes: Any) -> str:
        """A job that scans everything: what goes wrong meanwhile is what tests are about."""
        body = {"contexts": CONTEXTS, "reuse": False} | changes
        body["contexts"] = {"tails": "positive"} | body["contexts"]  # as the API settles it
        return open_job(self.board, model=MODEL, corpus={"id": corpus}, **body).id

    def job(self, job: str) -> Job:
        found = self.board.jobs.get(job)
        assert found is not None
        return found

    def wait(self, job: str, timeout_s: float = 120.0) -> Job:
        await_that(
            lambda: self.job(job).is_terminal, timeout_s, lambda: f"{self.job(job)}\n{self.logs()}"
        )
        return self.job(job)

    def run_quietly(self, job: str) -> dict[str, str]:
        """The digests of a job's files once it has succeeded."""
        ended = self.wait(job)
        assert ended.status == "succeeded", ended.error
        return self.digests(job)

    def digests(self, job: str) -> dict[str, str]:
        return digests_of(self.store, Layout.result(job))

    def alive(self) -> list[int]:
        """The workers that run."""
        return [pid for pid in self.started if self.nursery.poll(pid) is None]

    def holder(self, job: str, kind: str, timeout_s: float = 60.0) -> tuple[int, str]:
        """A worker that runs a unit of this kind for the job, and the unit."""
        found: list[tuple[int, str]] = []

        def look() -> bool:
            for pid, log in self.started.items():
                lines = (
                    re.findall(rf"(begun|ended) job={job} unit=(\S+)", log.read_text())
                    if log.exists()
                    else []
                )
                if self.nursery.poll(pid) is None and lines and lines[-1][0] == "begun":
                    unit = lines[-1][1]
                    if unit.startswith(kind) and unit not in self.board.units.list_done(job):
                        found.append((pid, unit))
            return bool(found)

        await_that(look, timeout_s, self.logs)
        return found[0]

    def attempts(self, job: str) -> list[tuple[str, int]]:
        """Every attempt at a unit of the job that a worker's log tells of."""
        text = "".join(log.read_text() for log in self.started.values() if log.exists())
        return [
            (unit, int(n))
            for unit, n in re.findall(rf"begun job={job} unit=(\S+)(?: \S+)* attempt=(\d+)\n", text)
        ]

    def logs(self) -> str:
        return "\n".join(
            f"{p.name}:\n{p.read_text()[-3000:]}"
            for p in sorted((self.data / "logs").glob("*.log"))
        )

    def is_clean(self, job: str) -> bool:
        """Whether nothing of the job is in the store but a result's files."""
        unfinished = self.store.list_unfinished(Layout.result(job))
        return not unfinished and not self.store.exists(Layout.work(job))

    @contextmanager
    def api(self, port: int | None = None) -> Iterator[Api]:
        api = Api(self, port or free_port())
        api.start()
        try:
            yield api
        finally:
            api.kill()


class Api:
    """gunicorn with the real service."""

    def __init__(self, site: Site, port: int) -> None:
        self._site, self._port = site, port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        command = [
            *SAFE_PYTHON,
            "-m",
            "polyseme.stack.serve",
            "--bind",
            f"127.0.0.1:{self._port}",
        ]
        with open(self._site.data / "logs/api.log", "ab") as log:
            environ = dict(os.environ) | self._site.environ
            self._process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        await_that(self._answers, 60, self._site.logs)

    def kill(self) -> None:
        """With -9, all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, 9)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False


def digests_of(store: Store, folder: str) -> dict[str, str]:
    """The SHA-256 of each file in a folder of a store, and in those in it, by its path there."""
    return {
        name: hashlib.sha256(store.read(f"{folder}/{name}")).hexdigest()
        for name in sorted(store.file_sizes(folder))
    }


def await_that(is_so: Callable[[], bool], timeout_s: float, why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE * timeout_s
    while True:
        try:
            if is_so():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, f"not within {PATIENCE * timeout_s} s:\n{why()}"
        time.sleep(0.05)


@contextmanager
def running_site(
    nursery: Nursery,
    data: Path,
    *,
    layers: int = 2,
    redis_server: Callable[[], AbstractContextManager[Any]] = RedisServer.running,
    disk: Callable[[Path], AbstractContextManager[None]] = nullcontext,
    texts: int = 100,
    beside: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Site]:
    """A site without workers, with a tiny model and the corpus "notes" of several shards.

    disk: mounts a file system on the store's folder; beside: more variables. Ends its workers.
    """
    prepare_data(data, layers=layers)
    for name in ("logs", "store", "cache"):
        (data / name).mkdir()
    with redis_server() as server, disk(data / "store"):
        chosen: dict[str, Any] = {
            "shard_tokens": 1500,
            "lease_s": 3.0,
            "threads": 1,
            "device": "cpu",
        } | settings
        places = {
            "store": str(data / "store"),
            "cache": str(data / "cache"),
            "catalogue": str(data / "models.toml"),
        }
        found = Settings(redis_url=server.url, **(places | chosen))
        site = Site(server, nursery, data, found, beside=dict(beside or {}))
        publish_cards(site.board, _catalogue(site), data / "cache")
        add_corpus(site.board, site.store, make_texts(texts, seed=1))
        try:
            yield site
        finally:
            for pid in site.alive():
                os.kill(pid, 9)
            # One that still writes would keep its disk from being taken away.
            await_that(lambda: not site.alive(), 10)


def _catalogue(site: Site) -> Any:
    from polyseme.contract.records.catalogue import load_catalogue

    return load_catalogue(site.settings.catalogue)
