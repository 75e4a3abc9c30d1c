"""Units on the board: what workers claim, take, renew and finish.

A job is cut into units of work: "plan", "norms:<part>", "calibrate:<part>", "bands",
"scan:<shard>", "background", "project:<n>", "merge:<layer>" and "close". A live check is a job of
the one unit "activate".

A unit is *in flight* from the moment it begins to wait until it is finished or its deadline passes;
a worker that runs it moves the deadline on (the lease). Deadlines use the board's own clock, which
no step of any machine's moves (scripts/shared/ticks.lua). Whose turn it is, `lanes` says.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.lanes import (
    CHARGE_S,
    DEATH_S,
    HEAD_START_S,
    OVERDUE_S,
    lane_of,
    lanes_of,
    queue_of,
)
from polyseme.contract.board.scripts import Script
from polyseme.contract.names import DEFAULT_QUEUE, PRIORITIES


@dataclass(frozen=True)
class Lease:
    """A worker's hold on one unit of one job."""

    job: str
    unit: str
    token: str
    attempt: int  # 1 the first time
    queue: str = DEFAULT_QUEUE  # where it waited


class Units:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._claim = Script(client, "units/claim")
        self._take = Script(client, "units/take")
        self._renew = Script(client, "units/renew")
        self._finish = Script(client, "units/finish")
        self._release = Script(client, "units/release")
        self._forgive = Script(client, "units/forgive")
        self._reopen = Script(client, "units/reopen")
        self._first_idle = Script(client, "units/first_idle")
        self._note_failure = Script(client, "units/note_failure")
        self._note_pause = Script(client, "units/note_pause")
        self._count_held = Script(client, "units/count_held")
        self._count_waiting = Script(client, "units/count_waiting")

    # What is to be done

    def claim(
        self,
        job: str,
        units: Iterable[str],
        *,
        room: int,
        patience_s: float,
        queue: str = DEFAULT_QUEUE,
        priority: str = "normal",
    ) -> list[str]:
        """Of `units`, in their order, those now put in flight, to wait for a worker; at most `room`
        are in flight.

        The caller sends a ticket for each. priority: one of PRIORITIES.
        """
        found = self._claim(
            record=self._keys.job(job),
            flight=self._keys.flight(job),
            done=self._keys.done(job),
            leases=self._keys.leases(job),
            prefix=self._keys.prefix,
            job=job,
            lane=lane_of(queue, priority),
            patience_s=patience_s,
            room=room,
            death_s=DEATH_S,
            head_start_s=HEAD_START_S,
            units=list(units),
        )
        return cast(list[str], found)

    def count_waiting(self) -> dict[tuple[str, str], int]:
        """How many units wait in each queue with each priority; those of every queue that was ever
        used.
        """
        flat = self._count_waiting(prefix=self._keys.prefix)
        lanes = dict(zip(flat[::2], flat[1::2], strict=True))
        queues = {queue_of(lane) for lane in lanes}
        return {(q, p): lanes.get(lane_of(q, p), 0) for q in sorted(queues) for p in PRIORITIES}

    def list_done(self, job: str) -> set[str]:
        return cast(set[str], self._redis.smembers(self._keys.done(job)))

    def count_held(self, job: str) -> int:
        """How many a live worker holds."""
        found = self._count_held(
            flight=self._keys.flight(job),
            leases=self._keys.leases(job),
            prefix=self._keys.prefix,
        )
        return cast(int, found)

    # What a worker does with one

    def take(
        self, queues: Sequence[str], *, lease_s: float, token: str | None = None
    ) -> Lease | None:
        """Takes the lease on the unit whose turn it is in these queues; None when none waits there.

        With the same token a call may be repeated and takes one.
        """
        token = token or secrets.token_hex(8)
        found = self._take(
            taken=self._keys.taken(token),
            prefix=self._keys.prefix,
            token=token,
            lease_s=lease_s,
            charge_s=CHARGE_S,
            overdue_s=OVERDUE_S,
            lanes=lanes_of(queues),
        )
        if found is None:
            return None
        job, unit, attempt, lane = found
        return Lease(job, unit, token, attempt, queue_of(lane))

    def renew(self, lease: Lease, *, lease_s: float, tokens: int | None = None) -> str:
        """Moves the deadline on and notes the tokens done in the unit.

        Returns the job's status, "gone", or "lost" when another worker has the lease.
        """
        found = self._renew(
            record=self._keys.job(lease.job),
            flight=self._keys.flight(lease.job),
            leases=self._keys.leases(lease.job),
            running=self._keys.running(lease.job),
            prefix=self._keys.prefix,
            job=lease.job,
            unit=lease.unit,
            token=lease.token,
            lease_s=lease_s,
            tokens="" if tokens is None else tokens,
        )
        return cast(str, found)

    def finish(
        self,
        job: str,
        unit: str,
        *,
        counter: str = "",
        tokens: int = 0,
        clock: str = "",
        seconds: float = 0.0,
        fields: Mapping[str, str | int | float] = {},
    ) -> bool:
        """Marks a unit done and counts it, once however often it is called.

        `counter` names the field that counts such units, `clock` the one that sums their seconds;
        `fields` go into the job's record, "@now" as the time.
        """
        done = self._finish(
            record=self._keys.job(job),
            flight=self._keys.flight(job),
            leases=self._keys.leases(job),
            running=self._keys.running(job),
            done=self._keys.done(job),
            prefix=self._keys.prefix,
            unit=unit,
            counter=counter,
            tokens=tokens,
            total=clock,
            seconds=seconds,
            fields=[x for pair in fields.items() for x in pair],
        )
        return bool(done)

    def release(self, lease: Lease, *, forget_attempt: bool = False) -> None:
        """Gives a unit back, to be sent again at once."""
        self._release(
            flight=self._keys.flight(lease.job),
            leases=self._keys.leases(lease.job),
            attempts=self._keys.attempts(lease.job),
            unit=lease.unit,
            token=lease.token,
            forget_attempt=int(forget_attempt),
        )

    def note_pause(self, kind: str, seconds: float) -> None:
        """For how long a unit of this kind that ended well showed no progress, at the most."""
        self._note_pause(pauses=self._keys.pauses(), kind=kind, seconds=seconds)

    def usual_pause(self, kind: str) -> float:
        """The mean of what was noted of late; 0 when nothing was."""
        return float(cast(str | None, self._redis.hget(self._keys.pauses(), kind)) or 0)

    # What went wrong

    def forgive(self, lease: Lease) -> None:
        """Takes the attempt back that a lease began. The unit stays with who has it."""
        self._forgive(
            leases=self._keys.leases(lease.job),
            attempts=self._keys.attempts(lease.job),
            unit=lease.unit,
            token=lease.token,
        )

    def reopen(self, job: str, unit: str, *, counter: str = "", tokens: int = 0) -> bool:
        """Takes a finished unit back, since what it wrote is no longer of use.

        Its attempts still count.
        """
        reopened = self._reopen(
            record=self._keys.job(job),
            done=self._keys.done(job),
            prefix=self._keys.prefix,
            unit=unit,
            counter=counter,
            tokens=tokens,
        )
        return bool(reopened)

    def count_attempts(self, job: str) -> dict[str, int]:
        """How often each unit was begun."""
        counts = cast(dict[str, str], self._redis.hgetall(self._keys.attempts(job)))
        return {unit: int(n) for unit, n in counts.items()}

    def first_idle(self, job: str, units: Sequence[str]) -> str | None:
        """The first of the units that is neither queued nor run by a live worker."""
        flight, prefix = self._keys.flight(job), self._keys.prefix
        return cast(str | None, self._first_idle(flight=flight, prefix=prefix, units=units))

    def note_failure(self, job: str, unit: str, why: str) -> None:
        """Keeps why an attempt failed, for the job's error should it be the last."""
        self._note_failure(record=self._keys.job(job), why=f"{unit}: {why}"[:2000])

    def last_failure(self, job: str) -> str | None:
        return cast(str | None, self._redis.hget(self._keys.job(job), "last_failure"))
