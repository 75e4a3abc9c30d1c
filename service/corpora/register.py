"""Corpora: documents written to the store under an id, and registered on the board."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from polyseme.contract.errors import Conflict, InvalidRequest, NotFound
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.service.access.quotas import check_room, find_quotas, too_many_bytes
from polyseme.service.context import Services
from polyseme.service.json_text import timestamp
from polyseme.service.reading.upload_reader import Read

CONTENT_PREFIX = "crp_"  # of ids that come from the content


def register_upload(
    services: Services,
    body: Read,
    reading: Reading,
    name: str | None,
    notes: Notes,
    has_left: Callable[[], bool],
) -> tuple[Corpus, bool]:
    """The corpus of a file that comes, and whether it is new. body: reads so many bytes of it;
    has_left: whether who sent it is gone.

    Raises as `register_corpus` does, and what `UploadReader` raises.
    """
    check_name(name)
    check_room(services, find_quotas(services))
    most = services.settings.max_documents
    with services.uploads.documents(
        body,
        reading,
        notes,
        name=name,
        max_documents=most,
        tenant=services.tenant,
        has_left=has_left,
    ) as (corpus, file):
        corpus = replace(corpus, bad_lines_skipped=notes.bad_lines_skipped)
        return keep_corpus(services, corpus, file)


def register_corpus(
    services: Services, texts: Iterable[str], name: str | None
) -> tuple[Corpus, bool]:
    """The corpus, and whether it is new.

    Raises Conflict when the name holds other content, QuotaExceeded.
    """
    check_name(name)
    check_room(services, find_quotas(services))
    folder = Path(services.settings.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        corpus = write_documents(
            texts, file, name=name, max_documents=services.settings.max_documents
        )
        return keep_corpus(services, corpus, file)


def keep_corpus(services: Services, corpus: Corpus, documents: IO[bytes]) -> tuple[Corpus, bool]:
    """Registers first, so that of two with one name only the registered one writes.

    The corpus as it was registered, with what was dropped and skipped this time.
    """
    board, store, tenant = services.board, services.store, services.tenant
    registered = board.registry.add_corpus(corpus, tenant)
    if registered.sha256 != corpus.sha256:
        raise Conflict(
            f"the corpus {corpus.id!r} holds other content: choose another name, or delete it first"
        )
    path = Layout.documents(corpus.id, tenant)
    if registered != corpus and store.exists(path):
        return replace(corpus, created_at=registered.created_at), False
    try:
        _count_bytes(services, corpus, documents.seek(0, os.SEEK_END))
        documents.seek(0)
        with store.writing(path) as target:
            shutil.copyfileobj(documents, target, 1 << 20)
    except BaseException:
        if registered == corpus:
            board.registry.delete_corpus(corpus.id, tenant)
            board.accounts.note_stored(tenant, f"corpus:{corpus.id}", 0)
        raise
    return registered, registered == corpus


def _count_bytes(services: Services, corpus: Corpus, size: int) -> None:
    quotas = find_quotas(services)
    accounts, item = services.board.accounts, f"corpus:{corpus.id}"
    if not accounts.note_stored(services.tenant, item, size, limit=quotas.stored_bytes):
        raise too_many_bytes(services, quotas)


def check_name(name: str | None) -> None:
    if name is not None and name.startswith(CONTENT_PREFIX):
        raise InvalidRequest(
            f"names beginning with {CONTENT_PREFIX} are made from content", pointer="/name"
        )


def delete_corpus(services: Services, corpus: str) -> None:
    """Raises NotFound, and Conflict while a job that has not ended reads it."""
    find_corpus(services, corpus)
    board, tenant = services.board, services.tenant
    jobs = (j for j in board.jobs.iterate(board.jobs.list_active()) if j.tenant == tenant)
    if user := next(
        (j.id for j in jobs if j.kind == "analysis" and j.analysis.corpus == corpus), None
    ):
        raise Conflict(f"the corpus {corpus!r} is read by {user}, which has not ended")
    # The files first: a deletion that was cut short is seen, and can be asked for again.
    services.store.delete(Layout.corpus(corpus, tenant))
    board.accounts.note_stored(tenant, f"corpus:{corpus}", 0)
    board.registry.delete_corpus(corpus, tenant)


def find_corpus(services: Services, corpus: str) -> Corpus:
    """Raises NotFound, for another tenant's too."""
    registered = services.board.registry.get_corpus(corpus, services.tenant)
    if registered is None:
        raise NotFound(f"no corpus {corpus!r}")
    return registered


def corpus_to_dict(corpus: Corpus) -> dict[str, Any]:
    return {"object": "corpus", **asdict(corpus), "created_at": timestamp(corpus.created_at)}
