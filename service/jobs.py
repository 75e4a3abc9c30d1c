"""Jobs: taking one in, showing one, ending one. Knows Redis only through the board."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import redis
from kombu.exceptions import OperationalError

from contract.board import Opened
from contract.catalogue import load_catalogue
from contract.errors import (
    Conflict,
    CorpusNotFound,
    Gone,
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFinished,
    ModelNotListed,
    NotFound,
    TooManyJobs,
    Unavailable,
)
from contract.lanes import DEFAULT_QUEUE
from contract.logs import add_log_ids
from contract.queue import send_ticket
from contract.records import CORPUS_ID, TERMINAL, Corpus, Delivery, Job, ModelCard
from contract.request import AnalysisRequest
from contract.selection import format_ranges
from contract.settings import Settings
from contract.store import Layout
from service.answers import timestamp
from service.checks import check_request
from service.context import Services
from service.corpora import measure_texts, register_corpus
from service.observation import describe_origin
from service.planning import Estimate, estimate_job
from service.quotas import check_room, find_quotas, too_many_jobs, too_many_tokens
from service.schemas.requests import to_request

_log = logging.getLogger("polyseme.service")

Body = Mapping[str, Any]


def submit_job(services: Services, body: Body, key: str | None) -> tuple[Job, bool]:
    """The job, and whether an earlier request with the same key had made it. `body` is what AnalysisSchema loaded."""
    digest = digest_of(body)
    # A repeated request gets its job even when its corpus, say, is no longer there.
    if key is not None and (earlier := find_submitted(services, key, digest)):
        return earlier, True
    tokens = estimate(services, body).tokens
    request = make_request(services, body)
    return open_job(services, request, None if key is None else (key, digest), tokens=tokens)


def estimate(services: Services, body: Body) -> Estimate:
    """What the job would be, once everything about it is checked. Keeps nothing."""
    request, card, corpus = _resolve(services, body)
    check_request(request, card, corpus, services.settings)
    services.gate.check(request.webhook)
    return estimate_job(request, card, corpus)


def make_request(services: Services, body: Body) -> AnalysisRequest:
    """The request of a body that was checked. Its texts become a corpus."""
    if "texts" not in body["corpus"]:
        return to_request(dict(body), body["corpus"]["id"])
    corpus, _ = register_corpus(services, body["corpus"]["texts"], None)
    return to_request(dict(body), corpus.id)


def find_job(services: Services, job: str, what: str = "job") -> Job:
    """what: the kind of job, as a client calls it. Raises NotFound, for another tenant's too; Gone once expired."""
    found = services.board.get_job(job)
    if found is not None and found.tenant == services.tenant and not found.has_expired:
        return found
    # Asked in either case, so that another tenant's job takes as long as none.
    expired = services.board.expired_tenant(job)
    owner = found.tenant if found else expired
    if owner == services.tenant:
        raise Gone(f"the {what} {job} has expired, and its result is deleted")
    raise NotFound(f"no {what} {job}")


def find_result(services: Services, job: str) -> Job:
    """A job that has a result. Raises JobNotFinished for any other."""
    found = find_job(services, job)
    if found.status == "succeeded":
        return found
    if found.is_terminal:
        raise JobNotFinished(f"{job} has no result: it {found.status}")
    raise JobNotFinished(f"{job} is {found.status}: its result is there once it has succeeded", retry_after_s=2)


def cancel_job(services: Services, job: str) -> tuple[Job, bool]:
    """The job afterwards, and whether it had ended before. One that nobody works on ends at once."""
    before = find_job(services, job)
    if services.board.cancel(job) == "cancelling":
        end_if_idle(services, job)
    return find_job(services, job), before.is_terminal


def end_if_idle(services: Services, job: str) -> None:
    """Ends a job that is being cancelled, if no worker holds a unit of it. Otherwise a worker will."""
    if services.board.units_held(job) == 0 and _end_cancelled(services, job):
        _delete_files(services, job)


def delete_job(services: Services, job: str) -> None:
    forget_job(services, job, "job", "cancel it first, and delete it once it has ended")


def forget_job(services: Services, job: str, what: str, remedy: str) -> None:
    """Removes the record, then the files: a result without a record is found by nobody.

    remedy: what to do with one that has not ended. A worker deletes the files if this process dies before it has.
    """
    find_job(services, job, what)
    status = services.board.forget(job, services.tenant)
    if status == "gone":
        raise NotFound(f"no {what} {job}")
    if status != "deleted":
        raise Conflict(f"{job} is {status}: {remedy}")
    services.results.forget(job)
    _delete_files(services, job)
    services.board.bury(job, services.tenant)


def show_jobs(services: Services, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Jobs as clients see them: `job_to_dict`, with the warning that nobody works on a job's queue."""
    servers = {} if all(job.is_terminal for job in jobs) else services.board.count_servers()
    return [show_seen(job, job.is_terminal or job.queue in servers) for job in jobs]


def show_seen(job: Job, is_served: bool) -> dict[str, Any]:
    return job_to_dict(job, None if is_served else _unserved(job))


def show_job(services: Services, job: Job) -> dict[str, Any]:
    return show_jobs(services, [job])[0]


def _unserved(job: Job) -> str:
    return f"no worker serves the queue {job.queue!r} now: the job waits until one does"


def job_to_dict(job: Job, warning: str | None = None) -> dict[str, Any]:
    here = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "phase": job.phase,
        "revision": job.revision,
        "priority": job.request["priority"],
        "queue": job.queue,
        "warning": warning,
        "batch": job.batch,
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "finished_at": timestamp(job.finished_at),
        "expires_at": timestamp(job.expires_at),
        "request": job.request,
        "progress": _progress(job),
        "reused": _reused(job),
        "error": job.error,
        "metadata": job.request["metadata"],
        "webhook": show_delivery(job.webhook),
        "links": {
            "self": here,
            "neurons": f"{here}/neurons",
            "senses": f"{here}/senses",
            "summary": f"{here}/summary",
            "export": f"{here}/export?format=parquet",
            "cancel": f"{here}/cancel",
        },
    }


def job_headers(job: Job) -> dict[str, str]:
    return state_headers(job.revision, job.status)


def state_headers(revision: int, status: str) -> dict[str, str]:
    """The tag is weak: the speed and the time left move without a new revision."""
    headers = {"ETag": make_tag(revision), "Cache-Control": "no-cache"}
    return headers if status in TERMINAL else headers | {"Retry-After": "1" if status == "queued" else "2"}


def etag(job: Job) -> str:
    return make_tag(job.revision)


def make_tag(revision: int) -> str:
    return f'W/"{revision}"'


def list_models(settings: Settings, cards: list[ModelCard]) -> list[str]:
    return sorted({*catalogue(settings), *(c.id for c in cards)})


def catalogue(settings: Settings) -> dict[str, str]:
    """Source by model id. Raises Unavailable when the file cannot be read, which is the operator's to mend."""
    try:
        return {e.id: e.source for e in load_catalogue(settings.catalogue).values()}
    except (OSError, ValueError) as e:
        raise Unavailable(f"the catalogue cannot be read: {e}", retry_after_s=60) from e


def _progress(job: Job) -> dict[str, Any]:
    p = job.progress
    return {
        "unit": "tokens",
        "total": p.tokens_total,
        "done": p.tokens_done,
        "shards": {"done": p.shards_done, "total": p.shards_total},
        "layers": {"done": p.layers_done, "total": p.layers_total},
        "tokens_done": p.tokens_done,
        "tokens_total": p.tokens_total,
        "tokens_per_second": p.tokens_per_second,
        "fraction": min(p.tokens_done / p.tokens_total, 1.0) if p.tokens_total else None,
        "eta_seconds": _seconds_left(job),
    }


def _seconds_left(job: Job) -> float | None:
    """Of the phase, as fast as it went so far."""
    p = job.progress
    todo, speed = 0, 0.0  # of other phases nothing is counted
    if job.phase == "scanning":
        todo, speed = (p.tokens_total or 0) - p.tokens_done, p.tokens_per_second or 0.0
    elif job.phase == "merging" and p.phase_s:
        todo, speed = (p.layers_total or 0) - p.layers_done, p.layers_done / p.phase_s
    known = job.status == "running" and todo > 0 and speed > 0
    return round(todo / speed, 1) if known else None


def _reused(job: Job) -> dict[str, Any] | None:
    if not job.reused:
        return None
    layers = sorted(layer for taken in job.reused.values() for layer in taken)
    return {"layers": format_ranges(layers), "jobs": list(job.reused)}


def show_delivery(delivery: Delivery | None) -> dict[str, Any] | None:
    if delivery is None:
        return None
    return asdict(delivery) | {"next_attempt_at": timestamp(delivery.next_attempt_at)}


def _resolve(services: Services, body: Body) -> tuple[AnalysisRequest, ModelCard, Corpus]:
    """The request with its defaults, and what it names. Texts are measured, not kept."""
    card = _find_card(services, body["model"])
    reference = body["corpus"]
    if "texts" in reference:
        corpus = measure_texts(reference["texts"], services.settings.max_documents)
    else:
        corpus = _find_corpus(services, reference["id"])
    return to_request(dict(body), corpus.id), card, corpus


def _find_card(services: Services, model: str) -> ModelCard:
    card = services.board.get_card(model)
    if card is None:
        listed = list_models(services.settings, services.board.list_cards())
        if model in listed:
            raise Unavailable(f"no worker has described {model} yet: try again", retry_after_s=5)
        raise ModelNotListed(f"model {model!r}: the models are {', '.join(listed) or 'none'}", pointer="/model")
    if card.error is not None:
        raise InvalidRequest(f"{model} cannot be analysed: {card.error}", pointer="/model")
    return card


def _find_corpus(services: Services, corpus: str) -> Corpus:
    found = services.board.get_corpus(corpus, services.tenant) if CORPUS_ID.fullmatch(corpus) else None
    if found is None:
        raise CorpusNotFound(f"no corpus {corpus!r}: upload it with POST /v1/corpora", pointer="/corpus/id")
    if not services.store.exists(Layout.documents(corpus, services.tenant)):
        raise Conflict(f"the corpus {corpus!r} is still being written: try again")
    return found


def open_job(
    services: Services, request: AnalysisRequest, idempotency: tuple[str, str] | None, *, tokens: int = 0
) -> tuple[Job, bool]:
    """The new job, and whether it is that of an earlier request. idempotency: the key and the request's digest."""
    opened = put_on_board(services, request.to_dict(), idempotency=idempotency, tokens=tokens)
    if opened.verdict == "mismatch":
        raise reused()
    if opened.verdict == "opened":
        send_first(services, opened.job, "plan", request.model, request.priority)
    return _find_replayed(services, opened.job), opened.verdict == "replayed"


def put_on_board(services: Services, request: Body, **options: Any) -> Opened:
    """options: of `Board.open_job`. Raises TooManyJobs when the board is full, QuotaExceeded."""
    most, quotas = services.settings.max_active_jobs, find_quotas(services)
    check_room(services, quotas)
    opened = services.board.open_job(
        request,
        tenant=services.tenant,
        max_active=most,
        quotas=quotas,
        origin=describe_origin(),
        **options,
    )
    if opened.verdict == "jobs":
        raise too_many_jobs(services, quotas)
    if opened.verdict == "tokens":
        raise too_many_tokens(services, quotas)
    if opened.verdict == "full":
        raise TooManyJobs(f"{most} jobs are queued or running, and that is the most", retry_after_s=30)
    add_log_ids(job=opened.job)
    return opened


def find_submitted(services: Services, key: str, digest: str) -> Job | None:
    """The job that an earlier request with this key made. Raises IdempotencyKeyReused when it was another request."""
    if (earlier := services.board.find_submitted(key, services.tenant)) is None:
        return None
    job, known = earlier
    if known != digest:
        raise reused()
    return _find_replayed(services, job)


def _find_replayed(services: Services, job: str) -> Job:
    found = services.board.get_job(job)
    if found is None:
        raise Gone(f"{job}, which this Idempotency-Key made, was deleted")
    return found


def reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused("this Idempotency-Key came with another request before: use a new key")


def digest_of(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def send_first(services: Services, job: str, first: str, model: str, priority: str) -> None:
    """A job without a ticket is found by the workers' reconciler, so it is accepted all the same."""
    try:
        card, patience = services.board.get_card(model), services.settings.queue_patience_s
        queue = card.queue if card else DEFAULT_QUEUE
        claimed = services.board.claim_units(job, [first], room=1, patience_s=patience, queue=queue, priority=priority)
        for _ in claimed:
            send_ticket(services.queue, queue)
    except (OperationalError, redis.RedisError, OSError) as e:
        _log.warning("job %s: its first ticket could not be sent, the reconciler will: %s", job, e)


def _delete_files(services: Services, job: str) -> None:
    services.store.delete(Layout.work(job))
    services.store.delete(Layout.result(job))
    services.board.accounts.note_stored(services.tenant, f"job:{job}", 0)


def _end_cancelled(services: Services, job: str) -> bool:
    return services.board.end_job(job, "cancelled", keep_s=services.settings.retention_s)
