"""Taking a job in: it is checked once, then opened in one step with its first unit waiting.

Knows Redis only through the board.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from kombu.exceptions import OperationalError

from polyseme.contract.board.jobs import Opened
from polyseme.contract.errors import (
    Conflict,
    CorpusNotFound,
    Gone,
    IdempotencyKeyReused,
    InvalidRequest,
    ModelNotListed,
    NotFound,
    TooManyJobs,
    Unavailable,
    VectorsNotFound,
)
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Layout
from polyseme.contract.logs import add_log_ids
from polyseme.contract.paths import hide_paths
from polyseme.contract.records.catalogue import load_catalogue
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.job import CORPUS_ID, Corpus, Job, Request
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.planned import reader_of
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.tenants import Quotas
from polyseme.contract.records.vector_set import SITE, VectorSet
from polyseme.contract.settings import Settings
from polyseme.contract.tickets import send_ticket
from polyseme.service.access.quotas import check_room, find_quotas, too_many_jobs, too_many_tokens
from polyseme.service.context import Services
from polyseme.service.corpora.register import keep_corpus
from polyseme.service.jobs.checks import check_request
from polyseme.service.jobs.dictionary_units import find_dictionaries, use_dictionaries
from polyseme.service.jobs.estimate import Estimate, estimate_job
from polyseme.service.jobs.fitting import add_site, fit_request, name_site, name_vectors
from polyseme.service.jobs.notes import Note, Staff, notes_of, notes_of_dictionaries
from polyseme.service.monitoring.observation import describe_origin
from polyseme.service.schemas.requests import to_request
from polyseme.service.vectors.sets import find_vectors

_log = logging.getLogger("polyseme.service")

Body = Mapping[str, Any]


@dataclass(frozen=True)
class CheckedJob:
    """A request that nothing is wrong with, and what it names."""

    sent: Body  # before its defaults; without texts
    request: AnalysisRequest
    card: ModelCard
    corpus: Corpus
    documents: io.BytesIO | None  # of texts that came in the body: their corpus, kept nowhere yet
    estimate: Estimate
    dictionaries: tuple[DictionaryCard, ...] = ()  # whose latents are asked for, by layer


def submit_job(
    services: Services, body: Body, key: str | None
) -> tuple[Job, bool, tuple[Note, ...]]:
    """The job, whether an earlier request with the same key had made it, and what is to be said of
    the request; of a repeated one that was said before.

    `body` is what AnalysisSchema loaded.
    """
    digest = digest_of(body)
    # A repeated request gets its job even when its corpus, say, is no longer there.
    if key is not None and (earlier := find_submitted(services, key, digest)):
        return earlier, True, ()
    checked = check_job(services, body)
    quotas = find_quotas(services)
    check_room(services, quotas)
    keep_documents(services, checked)
    job, replayed = open_job(
        services,
        checked.request,
        checked.card.queue,
        quotas,
        None if key is None else (key, digest),
        tokens=checked.estimate.tokens,
    )
    return job, replayed, note_requests(services, [checked])[0]


def note_requests(services: Services, checked: Iterable[CheckedJob]) -> list[tuple[Note, ...]]:
    """What is to be said of each request."""
    workers = services.board.workers
    served, has_encoder = workers.count_by_queue(), workers.count_encoders() > 0
    return [
        (
            *notes_of(
                job.sent,
                job.request,
                job.corpus,
                job.estimate,
                Staff(job.card.queue in served, has_encoder),
            ),
            *notes_of_dictionaries(job.request, job.card, job.dictionaries),
        )
        for job in checked
    ]


def check_job(services: Services, body: Body) -> CheckedJob:
    """Everything that a job is checked for. Keeps nothing.

    `body` is what AnalysisSchema loaded.
    """
    card = find_card(services, body["model"])
    dictionaries = find_dictionaries(services, body, card)
    body, card = use_dictionaries(body, card, dictionaries)
    body, card = _name_units(services, body, card)
    reference, documents = body["corpus"], None
    if "texts" in reference:
        # They came in one body and are in memory; as a file they take less.
        documents = io.BytesIO()
        most = services.settings.max_documents
        corpus = write_documents(reference["texts"], documents, name=None, max_documents=most)
    else:
        corpus = _find_corpus(services, reference["id"])
    sent = {name: value for name, value in body.items() if name != "corpus"}
    request = fit_request(to_request(body, corpus.id), sent, card, corpus.documents)
    check_request(request, card, corpus, services.settings)
    services.webhook_urls.check(request.webhook)
    planned = services.board.registry.list_planned(
        corpus.id, services.tenant, reader_of(card, corpus)
    )
    estimate = estimate_job(request, card, corpus, planned)
    return CheckedJob(sent, request, card, corpus, documents, estimate, dictionaries)


def keep_documents(services: Services, checked: CheckedJob) -> None:
    """Texts that came with a request become a corpus."""
    if checked.documents is not None:
        keep_corpus(services, checked.corpus, checked.documents)


def open_job(
    services: Services,
    request: AnalysisRequest,
    queue: str,
    quotas: Quotas,
    idempotency: tuple[str, str] | None,
    *,
    tokens: int = 0,
) -> tuple[Job, bool]:
    """The new job, and whether it is that of an earlier request. idempotency: the key and the
    request's digest.
    """
    opened = put_on_board(services, request, queue, quotas, idempotency=idempotency, tokens=tokens)
    if opened.verdict == "mismatch":
        raise reused()
    return _find_replayed(services, opened.job), opened.verdict == "replayed"


def put_on_board(
    services: Services, request: Request, queue: str, quotas: Quotas, **options: Any
) -> Opened:
    """Opens a job, and wakes a worker for it. options: of `Jobs.open`.

    Raises TooManyJobs when the board is full, QuotaExceeded.
    """
    most = services.settings.max_active_jobs
    opened = services.board.jobs.open(
        request,
        queue=queue,
        patience_s=services.settings.queue_patience_s,
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
        raise TooManyJobs(
            f"{most} jobs are queued or running, and that is the most", retry_after_s=30
        )
    add_log_ids(job=opened.job)
    if opened.verdict == "opened":
        send_tickets(services, opened.job, {queue: 1})
    return opened


def send_tickets(services: Services, name: str, queues: Mapping[str, int]) -> None:
    """Wakes workers for units that wait; queues: how many wait in each. name: of the job or batch.

    A ticket that is missing is replaced by the workers' scheduler, so none has to be sent.
    """
    try:
        for queue, count in queues.items():
            # As many workers as take these send themselves more: see `Scheduler.replace_tickets`.
            for _ in range(min(count, services.settings.shards_in_flight)):
                send_ticket(services.queue, queue)
    except (OperationalError, redis.RedisError, OSError) as e:
        _log.warning("%s: its tickets could not be sent, the scheduler will: %s", name, e)


def find_submitted(services: Services, key: str, digest: str) -> Job | None:
    """The job that an earlier request with this key made.

    Raises IdempotencyKeyReused when it was another request.
    """
    if (earlier := services.board.jobs.find_submitted(key, services.tenant)) is None:
        return None
    job, known = earlier
    if known != digest:
        raise reused()
    return _find_replayed(services, job)


def _find_replayed(services: Services, job: str) -> Job:
    found = services.board.jobs.get(job)
    if found is None:
        raise Gone(f"{job}, which this Idempotency-Key made, was deleted")
    return found


def reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "this Idempotency-Key came with another request before: use a new key"
    )


def digest_of(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def list_models(settings: Settings, cards: list[ModelCard]) -> list[str]:
    return sorted({*catalogue(settings), *(c.id for c in cards)})


def catalogue(settings: Settings) -> dict[str, str]:
    """Source by model id.

    Raises Unavailable when the file cannot be read, which is the operator's to mend.
    """
    try:
        return {e.id: e.source for e in load_catalogue(settings.catalogue).values()}
    except (OSError, ValueError) as e:
        raise Unavailable(f"the catalogue cannot be read: {e}", retry_after_s=60) from e


def find_card(services: Services, model: str) -> ModelCard:
    """Of a model that can be analysed. Raises ModelNotListed, InvalidRequest, Unavailable."""
    card = services.board.registry.get_card(model)
    if card is None:
        listed = list_models(services.settings, services.board.registry.list_cards())
        if model in listed:
            raise Unavailable(f"no worker has described {model} yet: try again", retry_after_s=5)
        raise ModelNotListed(
            f"model {model!r}: the models are {', '.join(listed) or 'none'}", pointer="/model"
        )
    if card.error is not None:
        raise InvalidRequest(
            f"{model} cannot be analysed: {hide_paths(card.error)}", pointer="/model"
        )
    return card


def _name_units(
    services: Services, body: Body, card: ModelCard
) -> tuple[dict[str, Any], ModelCard]:
    """The body with site and layers, and the card with the units that a job brings."""
    neurons = body.get("neurons", {})
    if (name := neurons.get("vectors")) is not None:
        vectors = _find_vectors(services, name)
        return name_vectors(body, vectors), add_site(card, vectors)
    if neurons.get("site") == SITE:
        raise InvalidRequest(
            f"site {SITE}: send `vectors` too, the id of uploaded directions",
            pointer="/neurons/vectors",
        )
    return name_site(body, card), card


def _find_vectors(services: Services, name: str) -> VectorSet:
    try:
        vectors = find_vectors(services, name)
    except NotFound as e:
        raise VectorsNotFound(
            f"no vectors {name!r}: upload them with POST /v1/vectors", pointer="/neurons/vectors"
        ) from e
    if not services.store.exists(Layout.vectors(name, services.tenant)):
        raise Conflict(f"the vectors {name!r} are still being written: try again")
    return vectors


def _find_corpus(services: Services, corpus: str) -> Corpus:
    found = (
        services.board.registry.get_corpus(corpus, services.tenant)
        if CORPUS_ID.fullmatch(corpus)
        else None
    )
    if found is None:
        raise CorpusNotFound(
            f"no corpus {corpus!r}: upload it with POST /v1/corpora", pointer="/corpus/id"
        )
    if not services.store.exists(Layout.documents(corpus, services.tenant)):
        raise Conflict(f"the corpus {corpus!r} is still being written: try again")
    return found
