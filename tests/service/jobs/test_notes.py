from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.records.job import Corpus
from polyseme.service.jobs.estimate import estimate_job
from polyseme.service.jobs.notes import Note, Staff, notes_of
from tests.factories import make_card, make_corpus, make_request

ALL_THERE = Staff(serves_queue=True, has_encoder=True)


def large(**changes: Any) -> Corpus:
    return make_corpus(**{"documents": 2000, "characters": 1_000_000} | changes)


def notes(corpus: Corpus, staff: Staff = ALL_THERE, **sent: Any) -> dict[str, Note]:
    """By code."""
    request = make_request(**sent)
    estimate = estimate_job(request, make_card(), corpus)
    return {note.code: note for note in notes_of(sent, request, corpus, estimate, staff)}


def test_of_a_request_that_lacks_nothing_nothing_is_said() -> None:
    assert notes(large()) == {}


def test_three_sentences_are_too_few_and_it_is_said_what_helps() -> None:
    found = notes(make_corpus(documents=3, characters=120), contexts={"top_k": 3})

    assert [*found] == ["too_few_windows"]
    assert found["too_few_windows"].message == (
        "About 3 windows of text: every neuron will lack evidence, which takes 10 contexts, and a "
        "window gives one at most. Take more text."
    )
    assert found["too_few_windows"].pointer == "/corpus"


def test_where_smaller_windows_would_do_they_are_named() -> None:
    few = make_corpus(documents=1, characters=4 * 700)

    message = notes(few, contexts={"per_document": None})["too_few_windows"].message

    assert message.endswith("Take more text, or a smaller contexts.window.")


@pytest.mark.parametrize(
    ("corpus", "sent", "code"),
    [
        (large(), {"contexts": {"top_k": 5, "sampled": 4}}, "too_few_contexts"),
        (large(documents=4), {"contexts": {"top_k": 4}}, "too_few_documents"),
        (large(), {"senses": {"min_contexts": 61}}, "min_contexts_large"),
        (large(characters=40_000), {}, "little_text"),
        (large(), {"tokens": {"max_tokens": 20_000}}, "max_tokens_cuts"),
        (large(longest_characters=900_000), {}, "long_document"),
        (large(), {"senses": {"alpha": 0.02}}, "alpha_deprecated"),
    ],
)
def test_what_a_result_will_lack_has_a_note(
    corpus: Corpus, sent: dict[str, Any], code: str
) -> None:
    assert [*notes(corpus, **sent)] == [code]


def test_a_share_of_the_corpus_is_named() -> None:
    found = notes(large(), tokens={"max_tokens": 25_000})["max_tokens_cuts"]

    message = "tokens.max_tokens 25,000 takes 10 % of the corpus: its first documents."
    assert found.message == message


def test_many_contexts_of_a_document_make_a_long_one_harmless() -> None:
    long = large(longest_characters=900_000)

    assert notes(long, contexts={"per_document": None}) == {}


def test_a_job_without_senses_lacks_no_evidence() -> None:
    assert notes(make_corpus(documents=100, characters=400), senses={"enabled": False}) == {}


@pytest.mark.parametrize(
    ("staff", "sent", "codes"),
    [
        (Staff(serves_queue=False, has_encoder=False), {}, ["no_worker"]),
        (Staff(serves_queue=True, has_encoder=False), {}, ["no_encoder"]),
        (Staff(serves_queue=True, has_encoder=False), {"senses": {"vectors": "window"}}, []),
        (Staff(serves_queue=True, has_encoder=False), {"senses": {"enabled": False}}, []),
    ],
)
def test_what_the_workers_lack_is_said(
    staff: Staff, sent: dict[str, Any], codes: list[str]
) -> None:
    assert [*notes(large(), staff, **sent)] == codes


def test_a_default_that_was_lowered_is_said() -> None:
    few = large(documents=30)
    lowered = make_request(contexts={"top_k": 30})
    estimate = estimate_job(lowered, make_card(), few)

    found = notes_of({}, lowered, few, estimate, ALL_THERE)

    assert [note.message for note in found] == [
        "contexts.top_k is 30 instead of 60: the corpus has 30 documents, and each gives one "
        "context at most."
    ]
