"""A corpus to a file and back."""

from __future__ import annotations

import hashlib
import io

import pytest

from polyseme.contract.errors import InvalidCorpus, TooLarge
from polyseme.contract.files.documents import (
    MOST_LANGUAGES,
    read_documents,
    read_languages,
    write_documents,
)
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.languages import TextInLanguage


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


def write(texts: list[str], *, has_languages: bool = True) -> tuple[Corpus, io.BytesIO]:
    file = io.BytesIO()
    corpus = write_documents(
        texts, file, name=None, max_documents=2000, has_languages=has_languages
    )
    return corpus, file


def test_a_document_keeps_its_language_and_of_copies_the_first_ones() -> None:
    texts = ["eins", TextInLanguage("zwei", "de"), TextInLanguage("zwei", "nl"), "three"]

    corpus, file = write([*texts, TextInLanguage("four", "en"), TextInLanguage("drei", "de")])

    assert list(read_documents(file)) == ["eins", "zwei", "three", "four", "drei"]
    assert list(read_languages(file)) == [None, "de", None, "en", "de"]
    assert corpus.languages == {"de": 2, "en": 1}
    assert corpus.duplicates_dropped == 1
    assert Corpus.from_json(corpus.to_json()) == corpus


def test_languages_change_what_a_corpus_is_and_their_absence_does_not() -> None:
    bare = write(["a", "b"], has_languages=False)[0].sha256

    assert write(["a", "b"])[0].sha256 == bare
    hashes = {
        write([TextInLanguage("a", "de"), "b"])[0].sha256,
        write([TextInLanguage("a", "en"), "b"])[0].sha256,
        write(["a", TextInLanguage("b", "de")])[0].sha256,
        write([TextInLanguage("a", "de"), TextInLanguage("b", "de")])[0].sha256,
        bare,
    }
    assert len(hashes) == 5


def test_a_file_without_the_column_has_documents_without_a_language() -> None:
    corpus, file = write(["a", "b"], has_languages=False)

    assert list(read_languages(file)) == [None, None]
    assert corpus.languages == {}
    assert "languages" not in corpus.to_dict()


def test_a_corpus_names_the_twenty_commonest_languages() -> None:
    texts = [TextInLanguage(f"{i} {j}", f"l{i:02d}") for i in range(30) for j in range(i // 10 + 1)]

    languages = write(list(texts))[0].languages

    assert list(languages) == [f"l{i:02d}" for i in (*range(20, 30), *range(10, 20))]
    assert list(languages.values()) == [3] * 10 + [2] * 10


def test_a_field_that_differs_nearly_everywhere_is_no_language() -> None:
    texts = [TextInLanguage(str(i), f"id-{i}") for i in range(MOST_LANGUAGES + 1)]

    assert write(list(texts[:-1]))[0].documents == MOST_LANGUAGES
    with pytest.raises(InvalidCorpus, match=r"more than 1000 languages: is 'id-1000' one\?"):
        write(list(texts))


def test_blank_and_repeated_documents_are_bounded_by_those_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polyseme.contract.files.documents.MOST_DROPPED", 5)

    kept = write_documents(["a", *[""] * 15], io.BytesIO(), name="n", max_documents=9)
    assert kept.empty_dropped == 15
    with pytest.raises(TooLarge, match="16 documents are blank or repeated"):
        write_documents(["a", *["", "a"] * 10], io.BytesIO(), name="n", max_documents=9)
