"""Whose turn it is: the order in which waiting units are given to workers.

A *lane* is what waits in one queue with one priority: "default:normal". Workers empty the lanes of
their queues in the order of PRIORITIES. Within a lane the tenant goes first that has had the least
of the workers' time, divided by its weight; within a tenant the job that has had least. Who comes
(back) starts HEAD_START_S behind the one whose turn it was last: it cannot save up a right to more,
and what is short ends before it has to share. A lane that was passed over for OVERDUE_S goes once
before the others, live checks excepted.

An account is in seconds of one worker, divided by the weight for a tenant. It is charged CHARGE_S
when a unit is begun and the time since then as its lease is renewed, so a unit that dies costs what
it used; and DEATH_S when its lease runs out, about what it takes to start a worker anew. So what
kills each worker that touches it comes after the others.

scripts/units/take.lua decides, scripts/shared/charge.lua and join_lane.lua keep the accounts.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyseme.contract.names import PRIORITIES
from polyseme.contract.records.job import Kind

FIRST_UNITS: dict[Kind, str] = {
    "analysis": "plan",
    "activations": "activate",
}  # wait from the start
PATIENCE_S = 600.0  # of a unit that waits; then it counts as absent
HEAD_START_S = 120.0
OVERDUE_S = 300.0
CHARGE_S = 1.0
DEATH_S = 60.0


def lane_of(queue: str, priority: str) -> str:
    return f"{queue}:{priority}"


def queue_of(lane: str) -> str:
    return lane.rpartition(":")[0]


def lanes_of(queues: Sequence[str]) -> list[str]:
    """In the order in which they are emptied."""
    return [lane_of(queue, priority) for priority in PRIORITIES for queue in queues]
