"""The chaos test: jobs run while workers, Redis and connections are killed at random.

`make chaos` is the long form.

Every accepted job must end, with the bytes of a quiet run, and be there once. The same seed gives
the same order of blows, though not at the same moments of the work, which depend on the machine.
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
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from polyseme.contract.files.store import Layout
from tests.factories import add_corpus, make_texts
from tests.journeys.conftest import MODEL
from tests.journeys.site import CONTEXTS, Api, Site, await_that, running_site
from tests.nursery import Nursery

# How often each blow falls. A stopped worker sleeps past its lease.
WEIGHTS = {
    "kill a worker": 5,
    "stop a worker": 2,
    "kill Redis": 2,
    "cut the connections": 3,
    "end a worker": 1,
}
CORPORA = 3  # that the jobs take by turns


@dataclass(frozen=True)
class Size:
    jobs: int
    blows: int
    pause_s: float  # between two blows, on average
    workers: int = 3


SHORT = Size(jobs=6, blows=8, pause_s=2.0)
LONG = Size(jobs=24, blows=40, pause_s=4.0)


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

    def to_text(self) -> str:
        rows = [f"{'blow':<22}{'times':>6}{'median s to next finished unit':>32}{'longest':>9}"]
        for name, count in sorted(self.blows.items()):
            took = self.recovery_s.get(name, [])
            shown = f"{median(took):>32.1f}{max(took):>9.1f}" if took else f"{'-':>32}{'-':>9}"
            rows.append(f"{name:<22}{count:>6}{shown}")
        rows.append(
            f"{sum(self.blows.values())} blows in {self.seconds:.0f} s; {self.jobs} jobs, all "
            f"with the bytes of"
        )
        rows.append(
            f"a quiet run; {self.attempts} attempts at {self.units} units; {self.submits_again} "
            f"submits repeated."
        )
        return "\n".join(rows)


class Chaos:
    def __init__(self, site: Site, api: Api, size: Size, seed: int) -> None:
        self._site, self._api, self._size = site, api, size
        self._random = random.Random(seed)
        self._to_come = self._random.sample(
            list(WEIGHTS), len(WEIGHTS)
        )  # each once, then by weight
        self._sleeping: dict[int, float] = {}  # when each stopped worker goes on
        self._waiting: list[
            tuple[str, float]
        ] = []  # blows after which no unit has been finished yet
        self._progress = 0
        self.report = Report()

    def run(self) -> Report:
        began = time.monotonic()
        quiet = [self._site.digests(job) for job in self._run_quietly()]
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
        self._check(jobs, quiet)
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
        """Until it is accepted, as a client does: 503 and a lost answer are no refusal."""
        corpus = {"id": f"chaos-{number % CORPORA}"}
        body = {"model": MODEL, "corpus": corpus, "contexts": CONTEXTS, "reuse": False}
        headers = {"Idempotency-Key": f"{time.time_ns()}-{number}"}
        for attempt in range(100):
            try:
                answer = httpx.post(
                    f"{self._api.url}/v1/jobs",
                    json=body,
                    headers=headers,
                    timeout=30,
                    trust_env=False,
                )
                if answer.status_code == 202:
                    self.report.submits_again += attempt > 0
                    return str(answer.json()["id"])
                assert answer.status_code in (429, 503), answer.text
                assert "Retry-After" in answer.headers
            except httpx.TransportError:
                pass
            self._keep_workers()
            time.sleep(0.3)
        raise AssertionError("a submit was not accepted")

    def _keep_workers(self) -> None:
        """What a supervisor does: a worker that ended is started again.

        Wakes those that slept enough, too.
        """
        for pid, until in list(self._sleeping.items()):
            if time.monotonic() > until:
                os.kill(pid, signal.SIGCONT)
                del self._sleeping[pid]
        for _ in range(self._size.workers - len(self._alive())):
            self._site.start_worker(slow=0.03)

    def _alive(self) -> list[int]:
        return [pid for pid in self._site.started if self._site.nursery.poll(pid) is None]

    def _strike(self) -> None:
        name = (
            self._to_come.pop()
            if self._to_come
            else self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        )
        awake = [pid for pid in self._alive() if pid not in self._sleeping]
        if not awake:
            self._to_come.append(name)
            return
        blows: dict[str, Callable[[int], Any]] = {
            "kill a worker": lambda pid: os.kill(pid, signal.SIGKILL),
            "end a worker": lambda pid: os.kill(pid, signal.SIGTERM),
            "stop a worker": self._stop,
            "kill Redis": lambda pid: self._restart_redis(),
            "cut the connections": lambda pid: self._site.server.cut_connections(),
        }
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

    def _are_over(self, jobs: list[str]) -> bool:
        found = self._site.board.jobs.get_many(jobs)
        assert len(found) == len(jobs), "a job is lost"
        done = sum(j.progress.shards_done + j.progress.layers_done + j.is_terminal for j in found)
        if done > self._progress:
            for name, at in self._waiting:
                self.report.recovery_s.setdefault(name, []).append(time.monotonic() - at)
            self._waiting.clear()
        self._progress = done
        return all(j.is_terminal for j in found)

    def _finish(self, jobs: list[str]) -> None:
        def are_over() -> bool:
            self._keep_workers()
            return all(j.is_terminal for j in self._site.board.jobs.get_many(jobs))

        await_that(are_over, 120, self._site.logs)

    def _check(self, jobs: list[str], quiet: list[dict[str, str]]) -> None:
        assert len(set(jobs)) == len(jobs), "a job was accepted under another's id"
        listed = [j.id for j in self._site.board.jobs.newest_first()]
        assert len(listed) == len(set(listed)) == len(jobs) + CORPORA, "a job is doubled or lost"
        assert self._site.board.jobs.list_active() == []
        for number, job in enumerate(jobs):
            ended = self._site.job(job)
            assert (ended.status, ended.error) == ("succeeded", None), (
                f"{ended}\n{self._site.logs()}"
            )
            assert self._site.digests(job) == quiet[number % CORPORA], (
                f"{job}: other bytes than in a quiet run"
            )
            progress = ended.progress
            assert (progress.shards_done, progress.layers_done) == (
                progress.shards_total,
                progress.layers_total,
            )
            assert progress.tokens_done == progress.tokens_total
            attempts = self._site.attempts(job)
            self.report.attempts += len(attempts)
            self.report.units += len({unit for unit, _ in attempts})
        for pid in list(self._sleeping):
            os.kill(pid, signal.SIGCONT)
        await_that(lambda: all(self._site.is_clean(job) for job in jobs), 90, self._site.logs)
        assert self._site.store.names(Layout.WORK) == []
        self.report.jobs = len(jobs)


def run_chaos(nursery: Nursery, data: Path, size: Size, seed: int) -> Report:
    # As many attempts as blows: here it is no fault of a job's that its workers die.
    with running_site(nursery, data, max_attempts=size.blows) as site:
        for number in range(CORPORA):
            add_corpus(
                site.board, site.store, make_texts(60 + 20 * number, seed=number), f"chaos-{number}"
            )
        with site.api() as api:
            return Chaos(site, api, size, seed).run()


def main() -> int:
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
