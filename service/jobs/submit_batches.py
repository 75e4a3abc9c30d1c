"""Batches: taking many jobs in at once, showing what became of each, ending them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import ValidationError

from polyseme.contract.board.batches import Batch, Entry, NewJob
from polyseme.contract.board.board import Board
from polyseme.contract.board.jobs import IDEMPOTENCY_S
from polyseme.contract.errors import (
    BatchRefused,
    Conflict,
    Detail,
    Gone,
    InvalidRequest,
    NotFound,
    PolysemeError,
    TooManyJobs,
    Unavailable,
)
from polyseme.contract.records.job import BATCH_ID
from polyseme.contract.records.tenants import Quotas
from polyseme.service.access.quotas import check_room, find_quotas, too_many_jobs, too_many_tokens
from polyseme.service.context import Services
from polyseme.service.http.problems import describe_error, invalid_values
from polyseme.service.jobs.find_and_end import delete_job, end_if_idle
from polyseme.service.jobs.notes import Note
from polyseme.service.jobs.show import show_delivery
from polyseme.service.jobs.submit import (
    CheckedJob,
    check_job,
    digest_of,
    keep_documents,
    note_requests,
    reused,
    send_tickets,
)
from polyseme.service.json_text import timestamp
from polyseme.service.monitoring.observation import describe_origin
from polyseme.service.schemas.requests import AnalysisSchema

_LISTED = 100  # pointers that a refusal names
_LOOKUPS_S = 5.0  # for all webhooks of a batch together


@dataclass(frozen=True)
class Submitted:
    """A batch as it was sent."""

    entries: Sequence[
        Any
    ]  # each is to be an analysis request; or the PolysemeError that it was none to begin with
    atomic: bool = True
    webhook: str | None = None
    metadata: Mapping[str, str] | None = None

    def digest(self) -> str:
        entries = [str(e) if isinstance(e, PolysemeError) else e for e in self.entries]
        return digest_of(
            {
                "jobs": entries,
                "atomic": self.atomic,
                "webhook": self.webhook,
                "metadata": self.metadata,
            }
        )


# By index in the batch.
_Checked = Mapping[int, CheckedJob]
Notes = Mapping[int, Sequence[Note]]


def submit_batch(services: Services, sent: Submitted, key: str | None) -> tuple[Batch, bool, Notes]:
    """The batch, whether an earlier request with the same key had made it, and what is to be said
    of each of its requests; of a batch made earlier nothing.

    Raises BatchRefused, and what a single submit raises when that is all that is wrong with every
    entry.
    """
    digest = sent.digest()
    if key is not None and (earlier := _find_submitted(services, key, digest)):
        return earlier, True, {}
    quotas = find_quotas(services)
    _check_count(services, sent, quotas)
    services.webhook_urls.check(sent.webhook)
    check_room(services, quotas)
    checked, refused = _check_entries(services, sent.entries)
    if refused and (sent.atomic or not checked):
        raise _refuse(refused, len(sent.entries))
    idempotency = None if key is None else (key, digest, IDEMPOTENCY_S)
    batch, replayed = _open(services, sent, checked, refused, quotas, idempotency)
    if replayed:
        return batch, True, {}
    return batch, False, dict(zip(checked, note_requests(services, checked.values()), strict=True))


def find_batch(services: Services, batch: str) -> Batch:
    """Raises NotFound, for another tenant's too; Gone once expired."""
    found = services.board.batches.get(batch)
    if found is not None and found.tenant == services.tenant:
        return found
    # Asked in either case, so that another tenant's batch takes as long as none.
    expired = services.board.jobs.expired_tenant(batch)
    if found is None and expired == services.tenant:
        raise Gone(f"the batch {batch} has expired")
    raise NotFound(f"no batch {batch}")


def list_jobs_of(services: Services, batch: str) -> list[str]:
    """The ids of the jobs of a tenant's batch, the last first; none when there is no such batch."""
    if (
        not BATCH_ID.fullmatch(batch)
        or services.board.batches.read_tag(batch, services.tenant) is None
    ):
        return []
    return services.board.batches.list_jobs(batch)[::-1]


def cancel_batch(services: Services, batch: str) -> tuple[Batch, bool]:
    """The batch afterwards, and whether it had ended before.

    Jobs that nobody works on end at once.
    """
    before = find_batch(services, batch)
    if services.board.batches.cancel(batch) == "cancelling":
        for job in services.board.batches.list_open_jobs(batch):
            end_if_idle(services, job)
    return find_batch(services, batch), before.is_terminal


def delete_batch(services: Services, batch: str, *, with_jobs: bool) -> None:
    """The jobs go first: a deletion that was cut short can be asked for again."""
    found = find_batch(services, batch)
    if not found.is_terminal:
        raise Conflict(
            f"{batch} is {found.status}: cancel it first, and delete it once it has ended"
        )
    for job in services.board.batches.list_jobs(batch) if with_jobs else []:
        try:
            delete_job(services, job)
        except (NotFound, Gone):
            continue
    if services.board.batches.delete_record(batch, services.tenant) == "gone":
        raise NotFound(f"no batch {batch}")


def show_batch(board: Board, batch: Batch, base: str) -> dict[str, Any]:
    """With its entries. base: the path that the service lies below."""
    return batch_to_dict(batch, base) | {
        "entries": [_entry_to_dict(e, base) for e in board.batches.list_entries(batch.id)]
    }


def show_submitted_batch(board: Board, batch: Batch, base: str, notes: Notes) -> dict[str, Any]:
    """For whoever has just sent it. notes: on its requests."""
    shown = show_batch(board, batch, base)
    for entry in shown["entries"]:
        of_it = notes.get(entry["index"], ()) if entry["job"] else ()
        entry["notes"] = [note.to_dict() for note in of_it]
    return shown


def batch_to_dict(batch: Batch, base: str) -> dict[str, Any]:
    """Without its entries, which are many."""
    here = f"{base}/v1/batches/{batch.id}"
    return {
        "id": batch.id,
        "object": "batch",
        "status": batch.status,
        "revision": batch.revision,
        "atomic": batch.atomic,
        "created_at": timestamp(batch.created_at),
        "finished_at": timestamp(batch.finished_at),
        "expires_at": timestamp(batch.expires_at),
        "counts": {"jobs": sum(batch.counts.values()), **batch.counts, "refused": batch.refused},
        "fraction": batch.fraction,
        "metadata": batch.metadata,
        "webhook": show_delivery(batch.webhook),
        "links": {
            "self": here,
            "jobs": f"{base}/v1/jobs?batch={batch.id}",
            "summaries": f"{here}/summaries",
            "cancel": f"{here}/cancel",
        },
    }


def _entry_to_dict(entry: Entry, base: str) -> dict[str, Any]:
    return {
        "index": entry.index,
        "job": entry.job,
        "status": entry.status,
        "problem": entry.problem,
        "link": None if entry.job is None else f"{base}/v1/jobs/{entry.job}",
    }


def _find_submitted(services: Services, key: str, digest: str) -> Batch | None:
    if (earlier := services.board.batches.find_submitted(key, services.tenant)) is None:
        return None
    batch, known = earlier
    if known != digest:
        raise reused()
    return _find_replayed(services, batch)


def _find_replayed(services: Services, batch: str) -> Batch:
    found = services.board.batches.get(batch)
    if found is None:
        raise Gone(f"{batch}, which this Idempotency-Key made, was deleted or has expired")
    return found


def check_count(entries: Sequence[Any], most: int) -> None:
    """Raises InvalidRequest."""
    if not 1 <= len(entries) <= most:
        raise InvalidRequest(f"{len(entries)} jobs: a batch has 1 to {most} here", pointer="/jobs")


def _check_count(services: Services, sent: Submitted, quotas: Quotas) -> None:
    """What can never fit is refused for good, rather than told to wait."""
    most = services.settings.max_batch_jobs
    if sent.atomic:
        most = min(most, services.settings.max_active_jobs, quotas.active_jobs or most)
    check_count(sent.entries, most)


def _check_entries(
    services: Services, entries: Sequence[Any]
) -> tuple[_Checked, dict[int, PolysemeError]]:
    # One look-up a host, and only so much time for all: names that nobody answers for would hold
    # the request.
    patient = replace(services, webhook_urls=services.webhook_urls.for_many(_LOOKUPS_S))
    checked: dict[int, CheckedJob] = {}
    refused: dict[int, PolysemeError] = {}
    for index, entry in enumerate(entries):
        try:
            checked[index] = _check_entry(patient, entry)
        except PolysemeError as e:
            refused[index] = e
    return checked, refused


def _check_entry(services: Services, entry: Any) -> CheckedJob:
    """Everything that a single submit is checked for."""
    if isinstance(entry, PolysemeError):
        raise entry
    try:
        body = AnalysisSchema().load(entry)
    except ValidationError as e:
        raise invalid_values(e.normalized_messages()) from e
    return check_job(services, body)


def _refuse(refused: Mapping[int, PolysemeError], count: int) -> PolysemeError:
    """What to raise when no job is submitted: with pointers, and with Retry-After if waiting is all
    that is needed.
    """
    details = tuple(d for index, e in refused.items() for d in _details_of(e, index))[:_LISTED]
    passing = [e for e in refused.values() if isinstance(e, Conflict | Unavailable)]
    if len(passing) == len(refused):
        passing[0].details = details
        return passing[0]
    first = details[0]
    return BatchRefused(
        f"{len(refused)} of {count} jobs are refused, and so none is submitted: {first.pointer}: "
        f"{first.detail}",
        details=details,
    )


def _details_of(error: PolysemeError, index: int) -> list[Detail]:
    here = f"/jobs/{index}"
    return [Detail(here + d.pointer, d.detail) for d in error.details] or [
        Detail(here, error.message)
    ]


def problem_of(error: PolysemeError, index: int | None = None) -> dict[str, Any]:
    """An entry's problem as it is shown with the batch. index: None when it is not known yet."""
    problem = describe_error(error)
    details = [] if index is None else _details_of(error, index)
    return {
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "errors": [{"pointer": d.pointer, "detail": d.detail} for d in details],
    }


def _open(
    services: Services,
    sent: Submitted,
    checked: _Checked,
    refused: Mapping[int, PolysemeError],
    quotas: Quotas,
    idempotency: tuple[str, str, int] | None,
) -> tuple[Batch, bool]:
    for job in checked.values():
        keep_documents(services, job)
    full = _no_room(services, quotas)
    opened = services.board.batches.open(
        [
            NewJob(index, job.request, job.estimate.tokens, job.card.queue)
            for index, job in checked.items()
        ],
        {index: problem_of(e, index) for index, e in refused.items()},
        atomic=sent.atomic,
        full={verdict: problem_of(e) for verdict, e in full.items()},
        webhook=sent.webhook,
        metadata=sent.metadata or {},
        patience_s=services.settings.queue_patience_s,
        tenant=services.tenant,
        idempotency=idempotency,
        max_active=services.settings.max_active_jobs,
        quotas=quotas,
        origin=describe_origin(),
    )
    if opened.verdict == "mismatch":
        raise reused()
    if opened.verdict in full:
        raise full[opened.verdict]
    if opened.verdict == "opened":
        send_tickets(services, opened.batch, Counter(job.card.queue for job in checked.values()))
    return _find_replayed(services, opened.batch), opened.verdict == "replayed"


def _no_room(services: Services, quotas: Quotas) -> dict[str, PolysemeError]:
    most = services.settings.max_active_jobs
    return {
        "full": TooManyJobs(
            f"at most {most} jobs may be queued or running, on the whole service", retry_after_s=30
        ),
        "jobs": too_many_jobs(services, quotas),
        "tokens": too_many_tokens(services, quotas),
    }
