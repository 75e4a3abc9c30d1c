from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from polyseme.contract.errors import Conflict, InvalidCorpus, InvalidRequest, TooLarge
from polyseme.contract.files.documents import read_documents, write_documents
from polyseme.contract.files.store import Layout
from polyseme.service.context import Services
from polyseme.service.corpora.register import delete_corpus, register_corpus
from tests.factories import open_job


def documents(services: Services, corpus: str) -> list[str]:
    return list(read_documents(io.BytesIO(services.store.read(Layout.documents(corpus)))))


def test_the_same_content_is_the_same_corpus(services: Services) -> None:
    first, is_new = register_corpus(services, ["a", "b", "a", " "], None)
    second, is_new_again = register_corpus(services, iter(["a", "b"]), None)

    assert (first.id, is_new, is_new_again) == (second.id, True, False)
    assert (first.duplicates_dropped, first.empty_dropped) == (1, 1)
    assert documents(services, first.id) == ["a", "b"]


def test_a_name_never_changes_its_content(services: Services) -> None:
    register_corpus(services, ["a"], "mine")

    with pytest.raises(Conflict):
        register_corpus(services, ["b"], "mine")
    assert documents(services, "mine") == ["a"]


def test_of_many_with_one_name_the_registered_one_writes(services: Services) -> None:
    def register(text: str) -> str | None:
        try:
            return register_corpus(services, [text], "race")[0].sha256
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [sha for sha in pool.map(register, [f"text {i}" for i in range(16)]) if sha]

    corpus = services.board.registry.get_corpus("race")
    assert corpus is not None
    assert won == [corpus.sha256]
    written = write_documents(
        documents(services, "race"), io.BytesIO(), name=None, max_documents=10
    )
    assert written.sha256 == corpus.sha256


def test_a_corpus_whose_file_was_never_written_is_mended_by_the_next_upload(
    services: Services,
) -> None:
    corpus, _ = register_corpus(services, ["a"], "torn")
    services.store.delete(Layout.corpus("torn"))

    again, is_new = register_corpus(services, ["a"], "torn")

    assert (again, is_new) == (corpus, False)
    assert documents(services, "torn") == ["a"]


def test_a_refused_corpus_leaves_nothing_behind(services: Services) -> None:
    with pytest.raises(InvalidCorpus):
        register_corpus(services, ["  "], "blank")
    with pytest.raises(TooLarge):
        register_corpus(services, (str(i) for i in range(1001)), "many")
    with pytest.raises(InvalidRequest):
        register_corpus(services, ["a"], "crp_" + "0" * 24)

    assert [c.id for c in services.board.registry.list_corpora()] == ["notes"]
    assert services.store.names("corpora") == ["notes"]


def test_a_corpus_in_use_stays(services: Services) -> None:
    job = open_job(services.board)

    with pytest.raises(Conflict):
        delete_corpus(services, "notes")
    services.board.jobs.end(job.id, "cancelled")
    delete_corpus(services, "notes")

    assert services.board.registry.get_corpus("notes") is None
    assert not services.store.exists(Layout.corpus("notes"))
