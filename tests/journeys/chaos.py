"""The chaos test: jobs run while workers, Redis, connections and the store are struck at random.

`make chaos` is the long form.

Every accepted job must end, with the bytes of a quiet run, and be there once. The same seed gives
the same order of blows, though not at the same moments of the work, which depend on the machine.
Blows that need root, or a package that is not here, are told and left out.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from polyseme.contract.files.store import Layout
from tests.factories import add_corpus, make_texts
from tests.false_clock import FalseClock
from tests.journeys.accepted import Progress, audit, await_clean, submit
from tests.journeys.site import Api, Site, await_that, running_site
from tests.nursery import Nursery
from tests.servers import RedisServer
from tests.store_faults import (
    DAMAGES,
    Fault,
    empty_mount,
    hung,
    on_loop_device,
    read_only,
)

# How often each blow falls. A stopped worker sleeps past its lease.
WEIGHTS = {
    "kill a worker": 5,
    "stop a worker": 2,
    "kill Redis": 2,
    "cut the connections": 3,
    "end a worker": 1,
    "make the store read-only": 2,
    "empty the store": 2,
    "hang the store": 2,
    "step Redis' clock": 2,
    "damage a file": 3,
}
STORE_FAULTS = {
    "make the store read-only": read_only,
    "empty the store": empty_mount,
    "hang the store": hung,
}
CORPORA = 3  # that the jobs take by turns


@dataclass(frozen=True)
class Size:
    jobs: int
    blows: int
    pause_s: float  # between two blows, on average
    workers: int = 3


SHORT = Size(jobs=6, blows=len(WEIGHTS), pause_s=2.0)
LONG = Size(jobs=24, blows=60, pause_s=4.0)


@dataclass
class Report:
    """What was done to the service, and what became of the jobs."""

    blows: dict[str, int] = field(default_factory=dict)
    recovery_s: dict[str, list[float]] = field(
        default_factory=dict
    )  # from a blow to the next finished unit of any job
    submits_again: int = 0  # submits that had to be sent more than once
    jobs: int = 0
    attempts: int = 0
    units: int = 0
    seconds: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)  # blows, and why

    def to_text(self) -> str:
        rows = [f"{'blow':<26}{'times':>6}{'median s to next finished unit':>32}{'longest':>9}"]
        for name, count in sorted(self.blows.items()):
            took = self.recovery_s.get(name, [])
            shown = f"{median(took):>32.1f}{max(took):>9.1f}" if took else f"{'-':>32}{'-':>9}"
            rows.append(f"{name:<26}{count:>6}{shown}")
        rows.append(
            f"{sum(self.blows.values())} blows in {self.seconds:.0f} s; {self.jobs} jobs, all "
            f"with the bytes of"
        )
        rows.append(
            f"a quiet run; {self.attempts} attempts at {self.units} units; {self.submits_again} "
            f"submits repeated."
        )
        rows += [f"not shown: {name}: {why}" for name, why in sorted(self.left_out.items())]
        return "\n".join(rows)


class Chaos:
    def __init__(self, site: Site, api: Api, size: Size, seed: int, ground: Ground) -> None:
        self._site, self._api, self._size, self._clock = site, api, size, ground.clock
        self._random = random.Random(seed)
        self._weights = {name: n for name, n in WEIGHTS.items() if name not in ground.left_out}
        # each once, then by weight
        self._to_come = self._random.sample(list(self._weights), len(self._weights))
        self._sleeping: dict[int, float] = {}  # when each stopped worker goes on
        self._waiting: list[
            tuple[str, float]
        ] = []  # blows after which no unit has been finished yet
        self._progress = Progress()
        self.report = Report(left_out=ground.left_out)

    def run(self) -> Report:
        began = time.monotonic()
        known = self._run_quietly()
        quiet = [self._site.digests(job) for job in known]
        jobs = [self._submit(number) for number in range(self._size.jobs)]
        next_blow = time.monotonic()
        while not self._are_over(jobs):
            self._keep_workers()
            if time.monotonic() > next_blow and sum(self.report.blows.values()) < self._size.blows:
                self._strike()
                next_blow = time.monotonic() + self._random.uniform(0.5, 1.5) * self._size.pause_s
            assert time.monotonic() - began < 60 + 60 * self._size.jobs, (
                f"too slow:\n{self._site.logs()}"
            )
            time.sleep(0.05)
        while sum(self.report.blows.values()) < self._size.blows:
            # The machine was faster than the blows: they need work to fall on.
            jobs.append(self._submit(len(jobs)))
            self._strike()
            self._finish(jobs[-1:])
        self._check(jobs, known, quiet)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _run_quietly(self) -> list[str]:
        """A job on each corpus before anything happens."""
        self._keep_workers()
        jobs = [self._submit(number) for number in range(CORPORA)]
        for job in jobs:
            assert self._site.wait(job, 240).status == "succeeded", self._site.logs()
        return jobs

    def _submit(self, number: int) -> str:
        key, corpus = f"{time.time_ns()}-{number}", f"chaos-{number % CORPORA}"
        found = submit(self._api.url, corpus, key, self._keep_workers)
        self.report.submits_again += found.tries > 1
        return found.job

    def _keep_workers(self) -> None:
        """What a supervisor does: a worker that ended is started again.

        Wakes those that slept enough, too.
        """
        for pid, until in list(self._sleeping.items()):
            if time.monotonic() > until:
                os.kill(pid, signal.SIGCONT)
                del self._sleeping[pid]
        for _ in range(self._size.workers - len(self._site.alive())):
            self._site.start_worker(slow=0.03)

    def _strike(self) -> None:
        name = (
            self._to_come.pop()
            if self._to_come
            else self._random.choices(list(self._weights), list(self._weights.values()))[0]
        )
        awake = [pid for pid in self._site.alive() if pid not in self._sleeping]
        if not awake:
            self._to_come.append(name)
            return
        blows: dict[str, Callable[[int], Any]] = {
            "kill a worker": lambda pid: os.kill(pid, signal.SIGKILL),
            "end a worker": lambda pid: os.kill(pid, signal.SIGTERM),
            "stop a worker": self._stop,
            "kill Redis": lambda pid: self._restart_redis(),
            "cut the connections": lambda pid: self._site.server.cut_connections(),
            "step Redis' clock": lambda pid: self._step_clock(),
            "damage a file": lambda pid: self._damage(),
        }
        if name in STORE_FAULTS:
            self._break_store(STORE_FAULTS[name])
        else:
            blows[name](self._random.choice(awake))
        self.report.blows[name] = self.report.blows.get(name, 0) + 1
        self._waiting.append((name, time.monotonic()))

    def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._sleeping[pid] = time.monotonic() + self._site.settings.lease_s + 2

    def _restart_redis(self) -> None:
        self._site.server.kill()
        time.sleep(self._random.uniform(0.1, 2.0))
        self._site.server.start()

    def _break_store(self, fault: Fault) -> None:
        with fault(Path(self._site.settings.store)):
            time.sleep(self._random.uniform(1.0, 4.0))

    def _step_clock(self) -> None:
        """An hour either way, until the next step."""
        assert self._clock is not None
        self._clock.step(self._random.choice((-3600, 0, 3600)))

    def _damage(self) -> None:
        """What a scan wrote for a job that runs: a finished result is for `polyseme verify`."""
        work = Path(self._site.store.local_path(Layout.WORK))
        found = [
            p for name in ("partials", "vectors") for p in sorted(work.glob(f"*/{name}/*.npz"))
        ]
        damage = self._random.choice(DAMAGES)
        if found:
            with suppress(FileNotFoundError):  # its job has ended since
                damage(self._random.choice(found))

    def _are_over(self, jobs: list[str]) -> bool:
        found = self._site.board.jobs.get_many(jobs)
        assert len(found) == len(jobs), "a job is lost"
        if self._progress.has_grown(found):
            for name, at in self._waiting:
                self.report.recovery_s.setdefault(name, []).append(time.monotonic() - at)
            self._waiting.clear()
        return all(j.is_terminal for j in found)

    def _finish(self, jobs: list[str]) -> None:
        def are_over() -> bool:
            self._keep_workers()
            return all(j.is_terminal for j in self._site.board.jobs.get_many(jobs))

        await_that(are_over, 120, self._site.logs)

    def _check(self, jobs: list[str], known: list[str], quiet: list[dict[str, str]]) -> None:
        wanted = {job: quiet[number % CORPORA] for number, job in enumerate(jobs)}
        found = audit(self._site, jobs, wanted, known=known)
        assert (found.lost, found.doubled) == (0, 0), found
        assert self._site.board.jobs.list_active() == []
        assert found.statuses == {"succeeded": len(jobs)}, f"{found}\n{self._site.logs()}"
        assert found.changed == (), f"{found.changed}: other bytes than in a quiet run"
        assert found.incomplete == ()
        self.report.attempts, self.report.units = len(found.attempts), found.units
        for pid in list(self._sleeping):
            os.kill(pid, signal.SIGCONT)
        await_clean(self._site, jobs)
        assert self._site.store.names(Layout.WORK) == []
        self.report.jobs = len(jobs)


@dataclass(frozen=True)
class Ground:
    """What this machine lets a test strike."""

    disk: Callable[[Path], AbstractContextManager[None]]  # on which the store is
    clock: FalseClock | None  # of Redis
    left_out: dict[str, str]  # blows that cannot be made here, and why

    @classmethod
    def find(cls, folder: Path) -> Ground:
        left_out: dict[str, str] = {}
        disk: Callable[[Path], AbstractContextManager[None]] = on_loop_device
        clock = None
        trial = folder / "trial"
        trial.mkdir(parents=True)
        try:
            with disk(trial):
                pass
        except pytest.skip.Exception as e:
            disk = nullcontext
            left_out |= dict.fromkeys(STORE_FAULTS, str(e))
        try:
            clock = FalseClock(folder)
        except pytest.skip.Exception as e:
            left_out["step Redis' clock"] = str(e)
        return cls(disk, clock, left_out)


def run_chaos(nursery: Nursery, data: Path, size: Size, seed: int) -> Report:
    ground = Ground.find(data.with_name("ground"))
    server = partial(RedisServer.running, ground.clock.environ if ground.clock else None)
    # As many attempts as blows: here it is no fault of a job's that its workers die.
    with running_site(
        nursery, data, redis_server=server, disk=ground.disk, max_attempts=size.blows
    ) as site:
        for number in range(CORPORA):
            add_corpus(
                site.board, site.store, make_texts(60 + 20 * number, seed=number), f"chaos-{number}"
            )
        with site.api() as api:
            return Chaos(site, api, size, seed, ground).run()


def main() -> int:
    # What is mounted is to be taken away then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, Nursery.running() as nursery:
        report = run_chaos(
            nursery, Path(folder) / "data", SHORT if options.short else LONG, options.seed
        )
    sys.stdout.write(report.to_text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
