from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.senses.brown import Document, read_document
from benchmarks.senses.passages import (
    cut_passages,
    draw_passages,
    read_passages,
    split_documents,
    word_at,
    write_passages,
)

FAMILIES = {"birds": ("owl", "hen"), "drinks": ("tea",)}


def make_document(name: str, *sentences: str) -> Document:
    tagged = "\n".join(" ".join(f"{w}/nn" for w in s.split()) for s in sentences)
    return read_document(name, "news", tagged)


def test_passages_are_whole_sentences_whose_words_know_where_they_stand() -> None:
    document = make_document(
        "ca01", "One two three .", "Four five .", "Six seven eight .", "Nine ."
    )

    first, second = cut_passages(document, words=4)

    assert first.text == "One two three."
    assert second.text == "Four five. Six seven eight."
    assert [second.text[w.start : w.end] for w in second.words] == [
        "Four",
        "five",
        ".",
        "Six",
        "seven",
        "eight",
        ".",
    ]


def test_halves_share_no_document_and_lose_none() -> None:
    documents = [make_document(f"ca{i:02d}", f"Text {i} .") for i in range(9)]

    one, other = split_documents(documents, seed=1)

    assert {d.name for d in one}.isdisjoint(d.name for d in other)
    assert {d.name for d in [*one, *other]} == {d.name for d in documents}
    assert abs(len(one) - len(other)) <= 1


def test_passages_that_hold_a_rare_family_come_first() -> None:
    filler = [make_document(f"ca{i:02d}", f"Plain words number {i} .", "End .") for i in range(50)]
    rare = [
        make_document("cb01", "An owl sat .", "End ."),
        make_document("cb02", "More tea here .", "End ."),
    ]

    drawn = draw_passages([*filler, *rare], 12, seed=0, families=FAMILIES, wanted=1, size=3)

    assert [p.text for p in drawn[:2]] in (
        ["An owl sat.", "More tea here."],
        ["More tea here.", "An owl sat."],
    )
    assert sum(len(p.words) for p in drawn) in range(12, 18)


def test_passages_come_back_from_their_file(tmp_path: Path) -> None:
    passages = list(
        cut_passages(make_document("ca01", "An owl .", "Some tea here .", "The end ."), 3)
    )

    write_passages(tmp_path / "passages.jsonl", passages)

    assert read_passages(tmp_path / "passages.jsonl") == passages


def test_a_token_belongs_to_the_word_of_its_last_character() -> None:
    document = make_document("ca01", "An owl hoots .")
    starts = np.array([w.start for w in document.words])

    found = [word_at(document.words, starts, end) for end in (2, 3, 5, 6, 13)]

    assert [w.form if w else None for w in found] == ["an", None, "owl", "owl", "."]
