"""A corpus as a file:

Parquet with a `text` column, and where documents may have one a `language` column; a document is
its row. Written and read as a stream.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from polyseme.contract.errors import InvalidCorpus, TooLarge
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.languages import language_of

MOST_LANGUAGES: Final = 1000  # of a corpus, so that each has a small number
_NAMED_LANGUAGES: Final = 20  # in what describes a corpus
_LANGUAGE: Final = pa.field("language", pa.dictionary(pa.int32(), pa.string()))
_SCHEMA: Final = pa.schema([("text", pa.string())])
_BATCH_CHARACTERS: Final = 1 << 22
# Between a document and its language: a length that no document has.
_LANGUAGE_MARK: Final = b"\xff" * 8
# Blank or repeated documents that are passed over, and so many more for each that was kept.
MOST_DROPPED: Final = 1_000_000
DROPPED_A_DOCUMENT: Final = 10


def write_documents(
    texts: Iterable[str],
    file: IO[bytes],
    *,
    name: str | None,
    max_documents: int,
    has_languages: bool = False,
) -> Corpus:
    """Writes the documents in their order, without exact duplicates and blank ones, and describes
    what was kept. Of duplicates the first one's language stays.

    has_languages: whether documents may have one, see `TextInLanguage`; else it is not kept. The id
    is `name`, or comes from the content. Raises InvalidCorpus when nothing is left, TooLarge beyond
    the limit.
    """
    seen: set[bytes] = set()  # 16 bytes a document: bounded by max_documents
    whole = hashlib.sha256()
    languages = Counter[str]()
    characters = longest = size = duplicates = empty = 0
    schema = _SCHEMA.append(_LANGUAGE) if has_languages else _SCHEMA
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        batch: list[str] = []
        batched = 0
        for text in texts:
            # Nobody means that many, and each takes as long as one that is kept.
            if empty + duplicates > MOST_DROPPED + DROPPED_A_DOCUMENT * len(seen):
                raise TooLarge(
                    f"{empty + duplicates} documents are blank or repeated: at most "
                    f"{MOST_DROPPED} may be, and {DROPPED_A_DOCUMENT} for each that is kept"
                )
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
            whole.update(_measured(encoded))
            if has_languages and (language := language_of(text)) is not None:
                whole.update(_LANGUAGE_MARK + _measured(language.encode("utf-8")))
                _count_language(languages, language)
            characters += len(text)
            longest = max(longest, len(text))
            size += len(encoded)
            batch.append(text)
            batched += len(text)
            if batched >= _BATCH_CHARACTERS:
                writer.write_table(_as_table(batch, schema))
                batch, batched = [], 0
        if batch:
            writer.write_table(_as_table(batch, schema))
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
        languages=_commonest(languages),
    )


def _measured(encoded: bytes) -> bytes:
    """With its length before it."""
    return len(encoded).to_bytes(8, "little") + encoded


def _count_language(languages: Counter[str], language: str) -> None:
    languages[language] += 1
    if len(languages) > MOST_LANGUAGES:
        raise InvalidCorpus(
            f"the documents have more than {MOST_LANGUAGES} languages: is {language[:40]!r} one?",
            pointer="/language_field",
        )


def _commonest(languages: Counter[str]) -> dict[str, int]:
    """By count, those as common by name."""
    ordered = sorted(languages.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:_NAMED_LANGUAGES])


def _as_table(batch: list[str], schema: pa.Schema) -> pa.Table:
    columns = [pa.array(batch, pa.string())]
    if _LANGUAGE.name in schema.names:
        named = pa.array(map(language_of, batch), pa.string())
        columns.append(named.dictionary_encode())
    return pa.table(columns, schema=schema)


def read_documents(file: IO[bytes]) -> Iterator[str]:
    """The documents in their order, a batch in memory at a time."""
    for batch in pq.ParquetFile(file).iter_batches(batch_size=256, columns=["text"]):
        yield from batch.column(0).to_pylist()


def read_languages(file: IO[bytes]) -> Iterator[str | None]:
    """Each document's language, likewise; None where it has none."""
    opened = pq.ParquetFile(file)
    if _LANGUAGE.name not in opened.schema_arrow.names:
        yield from repeat(None, opened.metadata.num_rows)
        return
    for batch in opened.iter_batches(columns=[_LANGUAGE.name]):
        yield from batch.column(0).to_pylist()
