"""One upload, received already, into a file of documents: here or in a process of its own."""

from __future__ import annotations

from typing import IO

from polyseme.contract.files.documents import write_documents
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.contract.texts.read import read_texts

CHUNK = 1 << 16


def read_documents(
    raw: IO[bytes],
    file: IO[bytes],
    reading: Reading,
    notes: Notes,
    *,
    name: str | None,
    max_documents: int,
) -> Corpus:
    """Raises what `read_texts` and `write_documents` raise."""
    chunks = iter(lambda: raw.read(CHUNK), b"")
    texts = read_texts(chunks, reading, notes)
    return write_documents(
        texts,
        file,
        name=name,
        max_documents=max_documents,
        has_languages=reading.language_field is not None,
    )
