"""A job's record on the board, read into a Job. Knows no Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from polyseme.contract.board.lanes import queue_of
from polyseme.contract.board.outbox import read_delivery
from polyseme.contract.board.reading import reading_record
from polyseme.contract.names import DEFAULT_QUEUE, DEFAULT_TENANT
from polyseme.contract.records.job import (
    JOB_VERSION,
    TERMINAL,
    ActivationsRequest,
    Busy,
    Job,
    Progress,
    Request,
    kind_of,
)
from polyseme.contract.records.request import AnalysisRequest

# Fields of a record that sum the seconds of units.
BEFORE_MERGES_CLOCK: Final = "before_merges_s"
MERGES_CLOCK: Final = "merges_s"


def read_job(record: Mapping[str, str], running: Iterable[str], now: float) -> Job:
    """running: tokens done in each unit that runs. Raises DamagedRecord."""
    version = record.get("version", "")
    is_newer = version.isdecimal() and int(version) > JOB_VERSION
    with reading_record(record.get("id", "a job"), is_newer=is_newer):
        return _read_job(record, running, now)


def _read_job(record: Mapping[str, str], running: Iterable[str], now: float) -> Job:
    def number(name: str) -> float | None:
        return float(record[name]) if name in record else None

    def count(name: str) -> int | None:
        return int(record[name]) if name in record else None

    done = int(record["tokens_done"]) + sum(map(int, running))
    began = number("scan_began_at")
    ended = now if record["phase"] == "scanning" else number("scan_ended_at")
    elapsed = ended - began if began and ended else 0.0
    phase_began = None if record["status"] in TERMINAL else number("phase_began_at")
    request = _read_request(record)
    return Job(
        id=record["id"],
        status=cast(Any, record["status"]),
        phase=cast(Any, record["phase"]),
        revision=int(record["revision"]),
        request=request,
        created_at=float(record["created_at"]),
        started_at=number("started_at"),
        finished_at=number("finished_at"),
        progress=Progress(
            shards_done=int(record["shards_done"]),
            shards_total=count("shards_total"),
            layers_done=int(record["layers_done"]),
            layers_total=count("layers_total"),
            tokens_done=done,
            tokens_total=count("tokens_total"),
            tokens_per_second=done / elapsed if done and elapsed > 0 else None,
            phase_s=now - phase_began if phase_began else None,
        ),
        error=json.loads(record["error"]) if "error" in record else None,
        queue=queue_of(record["lane"]) if "lane" in record else DEFAULT_QUEUE,
        origin=json.loads(record.get("origin", "{}")),
        webhook=read_delivery(_webhook_of(request), record),
        tenant=record.get("tenant", DEFAULT_TENANT),
        expires_at=(expires_at := number("expires_at")),
        has_expired=expires_at is not None and expires_at <= now,
        is_overdue=_is_overdue(request, now - float(record["created_at"])),
        version=int(record.get("version", 1)),
        batch=record.get("batch"),
        store_away_since=number("store_away_since"),
        waits_because=record.get("waits_because"),
        record_bytes=len(record["request"]),
        calibration_parts=int(record.get("calibration_parts", 0)),
        scan_address=record.get("scan_address", ""),
        busy=Busy(number(BEFORE_MERGES_CLOCK) or 0.0, number(MERGES_CLOCK) or 0.0),
        reused={
            job: tuple(layers) for job, layers in json.loads(record.get("reused", "{}")).items()
        },
    )


def _read_request(record: Mapping[str, str]) -> Request:
    data = json.loads(record["request"])
    if kind_of(record["id"]) == "activations":
        return ActivationsRequest.from_dict(data)
    return AnalysisRequest.from_record(data)


def _is_overdue(request: Request, age_s: float) -> bool:
    deadline_s = request.deadline_s if isinstance(request, AnalysisRequest) else None
    return deadline_s is not None and age_s > deadline_s


def _webhook_of(request: Request) -> str | None:
    return request.webhook if isinstance(request, AnalysisRequest) else None
