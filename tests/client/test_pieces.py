from __future__ import annotations

from polyseme.records import Activations, TextNeuron, TextToken
from polyseme.reports import Context, Piece, cut_pieces


def test_pieces_are_the_text_with_the_activations_of_its_tokens() -> None:
    pieces = cut_pieces("The old dog", [(0, 3), (4, 7), (7, 11)], [0.5, 2.0, None], {}, 1)

    assert pieces == [
        Piece("The", 0.5),
        Piece(" ", None),
        Piece("old", 2.0, is_peak=True),
        Piece(" dog", None),
    ]


def test_parts_of_one_character_are_one_piece_as_strong_as_the_strongest() -> None:
    pieces = cut_pieces("日x", [(0, 1), (0, 1), (0, 1), (1, 2)], [0.5, -3.0, 1.0, 0.0], {}, 2)

    assert pieces == [Piece("日", -3.0, is_peak=True), Piece("x", 0.0)]


def test_tokens_that_overlap_are_cut_where_each_begins_and_ends() -> None:
    pieces = cut_pieces("ae\u0301b", [(0, 3), (1, 4)], [1.0, 2.0], {}, 0)

    assert [p.text for p in pieces] == ["a", "e\u0301", "b"]
    assert [p.activation for p in pieces] == [1.0, 2.0, 2.0]
    assert [p.is_peak for p in pieces] == [True, True, False]


def test_the_end_of_a_line_is_one_piece() -> None:
    pieces = cut_pieces(
        "a\r\nb\r", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], [0, 1, -2, 3, 4], {}, 1
    )

    assert [p.text for p in pieces] == ["a", "\r\n", "b", "\r"]
    assert [p.activation for p in pieces] == [0, -2, 3, 4]
    assert [p.is_peak for p in pieces] == [False, True, False, False]


def test_special_tokens_are_marks_where_they_stand() -> None:
    context = Context(
        "positive", "top", 2.0, ("[CLS]", "a", "[SEP]"), (0.1, 2.0, 0.2), 1,
        text="A", peak_span=(0, 1), spans=(None, (0, 1), None), special=(0, 2),
    )  # fmt: skip

    assert context.pieces() == [
        Piece("[CLS]", 0.1, is_mark=True),
        Piece("A", 2.0, is_peak=True),
        Piece("[SEP]", 0.2, is_mark=True),
    ]


def test_tokens_of_another_document_are_left_out_but_a_peak_never_is() -> None:
    context = Context(
        "positive", "top", 2.0, ("other", "▁", "a"), (0.1, 2.0, 0.2), 1,
        text="a", spans=(None, None, (0, 1)),
    )  # fmt: skip

    assert context.pieces() == [Piece("▁", 2.0, is_peak=True, is_mark=True), Piece("a", 0.2)]


def test_a_live_check_is_its_text() -> None:
    tokens = (TextToken("<s>"), TextToken("▁", char_span=(0, 0)), TextToken("b", char_span=(0, 2)))
    check = Activations(id="act_1", status="succeeded", text="B\u0301", tokens=tokens)

    pieces = check.pieces(TextNeuron(layer=0, neuron=0, activations=(None, 1.0, 2.0)))

    assert pieces == [Piece("<s>", None, is_mark=True), Piece("B\u0301", 2.0)]
    assert [check.read(i) for i in range(3)] == ["<s>", "▁", "B\u0301"]
