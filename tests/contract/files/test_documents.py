"""A corpus to a file and back."""

from __future__ import annotations

import hashlib
import io

import pytest

from polyseme.contract.errors import InvalidCorpus, TooLarge
from polyseme.contract.files.documents import read_documents, write_documents


def test_documents_keep_their_order_without_copies_and_blanks() -> None:
    file = io.BytesIO()

    corpus = write_documents(["b", " \n", "a🦊", "b", ""], file, name=None, max_documents=2)

    assert list(read_documents(file)) == ["b", "a🦊"]
    assert (corpus.documents, corpus.duplicates_dropped, corpus.empty_dropped) == (2, 1, 2)
    assert (corpus.characters, corpus.utf8_bytes) == (3, 6)
    whole = b"".join(len(t).to_bytes(8, "little") + t for t in (b"b", "a🦊".encode()))
    assert corpus.sha256 == hashlib.sha256(whole).hexdigest()
    assert corpus.id == f"crp_{corpus.sha256[:24]}"


def test_a_corpus_has_some_text_and_not_too_much() -> None:
    with pytest.raises(InvalidCorpus, match="no document"):
        write_documents([" "], io.BytesIO(), name="n", max_documents=2)
    with pytest.raises(TooLarge, match="at most 1"):
        write_documents(["a", "b"], io.BytesIO(), name="n", max_documents=1)


def test_blank_and_repeated_documents_are_bounded_by_those_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polyseme.contract.files.documents.MOST_DROPPED", 5)

    kept = write_documents(["a", *[""] * 15], io.BytesIO(), name="n", max_documents=9)
    assert kept.empty_dropped == 15
    with pytest.raises(TooLarge, match="16 documents are blank or repeated"):
        write_documents(["a", *["", "a"] * 10], io.BytesIO(), name="n", max_documents=9)
