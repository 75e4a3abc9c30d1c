"""The faults of `make faults`: how each is made, and what is measured.

A trial is a service of its own, with a fresh Redis and store, an API and three workers.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from polyseme.contract.settings import Settings
from tests.client.standins import free_port, run_polyseme
from tests.factories import add_corpus, make_texts
from tests.failing_proxy import FailingProxy
from tests.false_clock import FalseClock
from tests.journeys.accepted import Progress, audit, await_clean, submit
from tests.journeys.conftest import prepare_data, running_stack
from tests.journeys.fault_rows import Row
from tests.journeys.site import Site, await_that, running_site
from tests.nursery import Nursery
from tests.s3_server import make_bucket, running_s3, s3_environ
from tests.servers import RedisServer
from tests.store_faults import (
    DAMAGES,
    Fault,
    empty_mount,
    full,
    hung,
    on_loop_device,
    on_tmpfs,
    read_only,
)
from tests.watched_redis import WatchedRedis

JOBS = 3
WORKERS = 3
# All that is not the default. The corpus is small, so its shards are; three workers share the cores
# of a small machine, and no GPU.
SETTINGS: Mapping[str, Any] = {
    "lease_s": Settings.lease_s,  # which `running_site` has shorter
    "shard_tokens": 1500,
    "threads": 1,
    "device": "cpu",
}
TEXTS = 200
SLOW_S = 0.5  # that each block takes longer, so that the fault falls on running jobs
LAYERS = 2
HOUR = 3600


@dataclass(frozen=True)
class Bench:
    nursery: Nursery
    folder: Path
    seed: int

    @cached_property
    def quiet(self) -> dict[str, str]:
        """The digests of a job to which nothing happened."""
        with running_site(self.nursery, self.folder / "quiet", texts=TEXTS, **SETTINGS) as site:
            site.start_worker()
            return site.run_quietly(site.submit())

    def random(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def place(self, name: str) -> Path:
        return self.folder / name.replace(" ", "-")


@dataclass
class Trial:
    """Jobs on a service, and the fault that falls on them."""

    bench: Bench
    name: str
    site: Site
    url: str
    jobs: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @cached_property
    def random(self) -> random.Random:
        return self.bench.random(self.name)

    def submit(self, count: int = JOBS) -> None:
        for _ in range(count):
            key = f"{self.name}-{len(self.jobs)}".replace(" ", "-")
            self.jobs.append(submit(self.url, "notes", key).job)

    def read_jobs(self) -> list[Job]:
        return self.site.board.jobs.get_many(self.jobs)

    def await_scans(self) -> None:
        """Until all jobs run and one of them scans, and a little longer."""

        def are_under_way() -> bool:
            found = self.read_jobs()
            assert not any(j.is_terminal for j in found), "a job ended before the fault"
            return all(j.status == "running" for j in found) and any(
                j.phase == "scanning" for j in found
            )

        await_that(are_under_way, 60, self.site.logs)
        time.sleep(self.random.uniform(0.0, 1.0))

    def time_progress(self, most_s: float = 120.0) -> float | None:
        """Seconds from now to the next finished unit. None when there is none."""
        began, progress = time.monotonic(), Progress()
        progress.has_grown(self.read_jobs())
        while time.monotonic() < began + most_s:
            if progress.has_grown(self.read_jobs()):
                return time.monotonic() - began
            time.sleep(0.05)
        return None

    def finish(self, recovery_s: float | None, **row: Any) -> Row:
        """The row, once all jobs have ended."""
        for job in self.jobs:
            self.site.wait(job)
        found = audit(self.site, self.jobs, dict.fromkeys(self.jobs, self.bench.quiet))
        await_clean(self.site, self.jobs)
        made = Row(self.name, found, recovery_s, complaints=tuple(self.complaints), **row)
        if misses := made.find_misses():
            sys.stderr.write(f"{self.name}: {misses}\n{found}\n{self.site.logs()}\n")
        return made


@contextmanager
def running_trial(
    bench: Bench, name: str, *, sabotage: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[Trial]:
    """With its jobs submitted. options: of `running_site`."""
    assert bench.quiet
    place = bench.place(name)
    given = {"texts": TEXTS, **SETTINGS, **options}
    with running_site(bench.nursery, place, **given) as site, site.api() as api:
        for _ in range(WORKERS):
            site.start_worker(**({"slow": SLOW_S} if sabotage is None else sabotage))
        trial = Trial(bench, name, site, api.url)
        trial.submit()
        yield trial


Disk = Callable[[Path], AbstractContextManager[None]]


def break_store(bench: Bench, name: str, *, disk: Disk, fault: Fault, seconds: float) -> Row:
    with running_trial(bench, name, disk=disk) as trial:
        trial.await_scans()
        with fault(Path(trial.site.settings.store)):
            time.sleep(0.75 * seconds)
            began = time.monotonic()
            _look_at_health(trial)
            time.sleep(max(0.25 * seconds - (time.monotonic() - began), 0.0))
        return trial.finish(trial.time_progress())


def _look_at_health(trial: Trial) -> None:
    """During an outage of the store: the API lives, and says that it is not ready."""
    with httpx.Client(base_url=trial.url, trust_env=False, timeout=10) as http:
        for path, wanted in (("/livez", 200), ("/readyz", 503)):
            if (status := http.get(path).status_code) != wanted:
                trial.complaints.append(f"{path} answered {status}")


def break_s3(bench: Bench, name: str, *, seconds: float) -> Row:
    with (
        running_s3() as endpoint,
        FailingProxy.running(endpoint, bench.seed) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        environ = s3_environ(proxy.url)
        for variable, value in environ.items():
            patch.setenv(variable, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        with running_trial(bench, name, store=make_bucket(), beside=environ) as trial:
            trial.await_scans()
            with proxy.failing():
                time.sleep(seconds)
            return trial.finish(trial.time_progress(), remarks=proxy.failures)


def step_clock(bench: Bench, name: str, *, seconds: int) -> Row:
    place = bench.place(f"{name} clock")
    place.mkdir()
    clock = FalseClock(place)
    server = partial(RedisServer.running, clock.environ)
    with running_trial(bench, name, redis_server=server) as trial:
        trial.await_scans()
        clock.step(seconds)
        return trial.finish(trial.time_progress())


def fail_over(bench: Bench, name: str) -> Row:
    """The master of three Sentinels is killed; the fault ends when they name the replica."""
    with running_trial(bench, name, redis_server=WatchedRedis.running) as trial:
        trial.await_scans()
        server = trial.site.server
        # What a Redis has acknowledged and not yet passed on is lost with it.
        server.await_copy()
        before = server.kill_master()
        await_that(lambda: server.master != before, 60)
        await_that(lambda: bool(trial.read_jobs()), 60)
        return trial.finish(trial.time_progress())


def damage_before(bench: Bench, name: str, *, gate: str) -> Row:
    """A file of each job is damaged when a unit of the kind is about to begin."""
    gates = bench.place(f"{name} gates")
    gates.mkdir()
    with running_trial(bench, name, sabotage={"gates": {gate: str(gates)}}) as trial:
        trial.submit((len(DAMAGES) - 1) * JOBS)
        progress, waiting, took = Progress(), list[float](), list[float]()
        damages = dict(zip(trial.jobs, cycle(DAMAGES), strict=False))

        def go_on() -> bool:
            if progress.has_grown(trial.read_jobs()):
                took.extend(time.monotonic() - began for began in waiting)
                waiting.clear()
            for job in [job for job in damages if (gates / f"{job}.reached").exists()]:
                damages.pop(job)(trial.random.choice(_files_of(trial.site, job)))
                waiting.append(time.monotonic())
                (gates / job).touch()
            return len(took) == len(trial.jobs)

        await_that(go_on, 120, trial.site.logs)
        # What a damaged file costs is noted with the unit that wrote it, and may be an attempt.
        return trial.finish(max(took), most_attempts=Settings.max_attempts - 1)


def _files_of(site: Site, job: str) -> list[Path]:
    """A job's result as far as it is there, and what its scans have written for that."""
    work, result = (Path(site.store.local_path(p)) for p in (Layout.work(job), Layout.result(job)))
    found = [*work.glob("**/partials/*.npz"), *work.glob("**/vectors/*.npz"), *result.rglob("*.*")]
    return sorted(p for p in found if p.is_file() and p.suffix != ".tmp")


def damage_after(bench: Bench, name: str) -> Row:
    """A file of each finished result but the manifest, which says what the others were: reads never
    answer 500, and `polyseme verify --repair` makes it again. The fault ends when that is called.
    """
    with running_trial(bench, name, sabotage={}) as trial:
        trial.submit((len(DAMAGES) - 1) * JOBS)
        site = trial.site
        progress, whole = [], []
        for job in trial.jobs:
            assert site.wait(job).status == "succeeded", site.logs()
        await_clean(site, trial.jobs)
        for job, damage in zip(trial.jobs, cycle(DAMAGES), strict=False):
            path = trial.random.choice([p for p in _files_of(site, job) if p.name != MANIFEST])
            damage(path)
            _read_result(trial, job)
            first_s, whole_s = _repair(trial, job)
            progress.append(first_s)
            whole.append(whole_s)
        remarks = {"s for the slowest repair": round(max(whole), 1)}
        return trial.finish(max(progress), remarks=remarks)


def _repair(trial: Trial, job: str) -> tuple[float, float]:
    """Seconds to the first finished unit of the job that makes the files again, and to the end."""
    site = trial.site
    places = ["--redis-url", site.server.url, "--store", site.settings.store]
    progress, first_s, began = Progress(), None, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run_polyseme, ["verify", job, "--repair", *places], site.data)
        while not done.done():
            others = [j for j in site.board.jobs.newest_first() if j.id not in trial.jobs]
            if first_s is None and progress.has_grown(others):
                first_s = time.monotonic() - began
            time.sleep(0.02)
    whole_s = time.monotonic() - began
    if done.result().returncode or "made again" not in done.result().stdout:
        trial.complaints.append(f"{job} was not made again: {done.result().stdout.strip()}")
    return (whole_s if first_s is None else first_s), whole_s


def _read_result(trial: Trial, job: str) -> None:
    with httpx.Client(base_url=f"{trial.url}/v1/jobs/{job}", trust_env=False, timeout=30) as http:
        for path in ("/summary", "/manifest", "/neurons?limit=5", "/neurons/1/7"):
            answer = http.get(path)
            if answer.status_code != 200 and answer.json()["code"] != "result_damaged":
                trial.complaints.append(f"{path} answered {answer.status_code}: {answer.text}")


@dataclass(frozen=True)
class Located:
    url: str


def start_twice(bench: Bench, name: str) -> Row:
    """A second `polyseme up` on the folder of one that runs, and again without its `up.lock`."""
    assert bench.quiet
    data = prepare_data(bench.place(name), layers=LAYERS)
    with running_stack(data, workers=2, **SETTINGS) as stack:
        url = (data / "redis" / "redis.url").read_text()
        logs = dict(enumerate(sorted((data / "logs").glob("worker-*.log"))))
        settings = Settings(redis_url=url, store=str(data / "store"))
        site = Site(Located(url), bench.nursery, data, settings, logs)
        add_corpus(site.board, site.store, make_texts(TEXTS, seed=1))
        trial = Trial(bench, name, site, stack.url)
        trial.submit(4 * JOBS)
        for remove in (False, True):
            if remove:
                (data / "up.lock").unlink()
            command = ["up", "--port", str(free_port()), "--data", str(data)]
            done = run_polyseme(command, bench.folder)
            if done.returncode != 2 or "is in use by" not in done.stderr:
                trial.complaints.append(f"the second one ended with {done.returncode}")
        return trial.finish(trial.time_progress())


Run = Callable[[Bench, str], Row]
ROOMY = partial(on_tmpfs, size="400m")


def _name_all() -> Iterator[tuple[str, Run]]:
    for seconds in (2, 8, 60):
        run = partial(break_store, disk=ROOMY, fault=read_only, seconds=seconds)
        yield f"store read-only {seconds} s", run
    yield "store hung 60 s", partial(break_store, disk=on_loop_device, fault=hung, seconds=60)
    yield "store empty 10 s", partial(break_store, disk=ROOMY, fault=empty_mount, seconds=10)
    yield "store full 10 s", partial(break_store, disk=ROOMY, fault=full, seconds=10)
    yield "S3 503 and resets 30 s", partial(break_s3, seconds=30)
    for gate, phase in (
        ("merge", "between scan and merge"),
        ("close", "between merge and close"),
        ("end", "between close and end"),
    ):
        yield f"file deleted, cut or flipped {phase}", partial(damage_before, gate=gate)
    yield "file deleted, cut or flipped after success", damage_after
    yield "Redis' clock an hour ahead", partial(step_clock, seconds=HOUR)
    yield "Redis' clock an hour back", partial(step_clock, seconds=-HOUR)
    yield "Sentinel fail-over", fail_over
    yield "two supervisors", start_twice


FAULTS: Mapping[str, Run] = dict(_name_all())
