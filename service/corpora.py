"""Corpora: documents written to the store under an id, and registered on the board."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from contract.board import Board
from contract.documents import write_documents
from contract.errors import Conflict, InvalidRequest, NotFound
from contract.records import Corpus
from contract.store import Layout, Store
from service.answers import timestamp
from service.context import Services

CONTENT_PREFIX = "crp_"  # of ids that come from the content


def register_corpus(services: Services, texts: Iterable[str], name: str | None) -> tuple[Corpus, bool]:
    """The corpus, and whether it is new. Raises Conflict when the name holds other content."""
    check_name(name)
    folder = Path(services.settings.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        corpus = write_documents(texts, file, name=name, max_documents=services.settings.max_documents)
        return keep_corpus(services.board, services.store, corpus, file)


def keep_corpus(board: Board, store: Store, corpus: Corpus, documents: IO[bytes]) -> tuple[Corpus, bool]:
    """Registers first, so that of two with one name only the registered one writes."""
    found = board.add_corpus(corpus)
    if found.sha256 != corpus.sha256:
        raise Conflict(f"the corpus {corpus.id!r} holds other content: choose another name, or delete it first")
    path = Layout.documents(corpus.id)
    if found != corpus and store.exists(path):
        return found, False
    try:
        documents.seek(0)
        with store.writing(path) as target:
            shutil.copyfileobj(documents, target, 1 << 20)
    except BaseException:
        if found == corpus:
            board.delete_corpus(corpus.id)
        raise
    return found, found == corpus


def measure_texts(texts: Iterable[str], max_documents: int) -> Corpus:
    """What the corpus of these texts would be, kept nowhere."""
    with tempfile.TemporaryFile() as file:
        return write_documents(texts, file, name=None, max_documents=max_documents)


def check_name(name: str | None) -> None:
    if name is not None and name.startswith(CONTENT_PREFIX):
        raise InvalidRequest(f"names beginning with {CONTENT_PREFIX} are made from content", pointer="/name")


def delete_corpus(services: Services, corpus: str) -> None:
    """Raises NotFound, and Conflict while a job that has not ended reads it."""
    if services.board.get_corpus(corpus) is None:
        raise NotFound(f"no corpus {corpus!r}")
    jobs = services.board.get_jobs(services.board.active_jobs())
    if user := next((j.id for j in jobs if j.request["corpus"]["id"] == corpus), None):
        raise Conflict(f"the corpus {corpus!r} is read by {user}, which has not ended")
    services.board.delete_corpus(corpus)
    services.store.delete(Layout.corpus(corpus))


def corpus_to_dict(corpus: Corpus) -> dict[str, Any]:
    return {"object": "corpus", **asdict(corpus), "created_at": timestamp(corpus.created_at)}
