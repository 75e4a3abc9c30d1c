"""A corpus as a file:

Parquet with one `text` column; a document is its row. Written and read as a stream.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from polyseme.contract.errors import InvalidCorpus, TooLarge
from polyseme.contract.records.job import Corpus

_SCHEMA = pa.schema([("text", pa.string())])
_BATCH_CHARACTERS = 1 << 22
# Blank or repeated documents that are passed over, and so many more for each that was kept.
MOST_DROPPED = 1_000_000
DROPPED_A_DOCUMENT = 10


def write_documents(
    texts: Iterable[str], file: IO[bytes], *, name: str | None, max_documents: int
) -> Corpus:
    """Writes the documents in their order, without exact duplicates and blank ones, and describes
    what was kept.

    The id is `name`, or comes from the content. Raises InvalidCorpus when nothing is left, TooLarge
    beyond the limit.
    """
    seen: set[bytes] = set()  # 16 bytes a document: bounded by max_documents
    whole = hashlib.sha256()
    characters = longest = size = duplicates = empty = 0
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        batch: list[str] = []
        batched = 0
        for text in texts:
            # Nobody means that many, and each takes as long as one that is kept.
            if empty + duplicates > MOST_DROPPED + DROPPED_A_DOCUMENT * len(seen):
                raise TooLarge(f"{empty + duplicates} documents are blank or repeated")
            if not text.strip():
                empty += 1
                continue
            encoded = text.encode("utf-8")
            digest = hashlib.blake2b(encoded, digest_size=16).digest()
            if digest in seen:
                duplicates += 1
                continue
            if len(seen) >= max_documents:
                raise TooLarge(f"a corpus may have at most {max_documents} documents")
            seen.add(digest)
            whole.update(len(encoded).to_bytes(8, "little") + encoded)
            characters += len(text)
            longest = max(longest, len(text))
            size += len(encoded)
            batch.append(text)
            batched += len(text)
            if batched >= _BATCH_CHARACTERS:
                writer.write_table(pa.table({"text": batch}, schema=_SCHEMA))
                batch, batched = [], 0
        if batch:
            writer.write_table(pa.table({"text": batch}, schema=_SCHEMA))
    if not seen:
        raise InvalidCorpus("the corpus has no document with any text")
    return Corpus(
        id=name or f"crp_{whole.hexdigest()[:24]}",
        sha256=whole.hexdigest(),
        documents=len(seen),
        characters=characters,
        utf8_bytes=size,
        duplicates_dropped=duplicates,
        empty_dropped=empty,
        created_at=time.time(),
        longest_characters=longest,
    )


def read_documents(file: IO[bytes]) -> Iterator[str]:
    """The documents in their order, a batch in memory at a time."""
    for batch in pq.ParquetFile(file).iter_batches(batch_size=256, columns=["text"]):
        yield from batch.column(0).to_pylist()
