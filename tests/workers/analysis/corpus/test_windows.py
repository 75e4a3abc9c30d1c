"""Windows to files and back."""

from __future__ import annotations

import io

import numpy as np
import pytest

from polyseme.workers.analysis.corpus.windows import (
    Window,
    cut_text,
    pack,
    read_blocks,
    shift_into_text,
    take_rows,
    unpack,
    write_blocks,
)
from tests.workers.analysis.builders import make_window, random_window

COLUMNS = ("ids", "documents", "starts", "ends", "counted")


def make_file(blocks: list[list[Window]]) -> io.BytesIO:
    file = io.BytesIO()
    write_blocks(file, map(pack, blocks))
    file.seek(0)
    return file


@pytest.fixture
def blocks() -> list[list[Window]]:
    rng = np.random.default_rng(1)
    made = [random_window(rng, number) for number in range(20)]
    return [made[:1], made[1:9], made[9:12], made[12:]]


def assert_holds(found: object, windows: list[Window]) -> None:
    assert found.number.tolist() == [w.number for w in windows]  # type: ignore[attr-defined]
    assert found.lengths.tolist() == [len(w) for w in windows]  # type: ignore[attr-defined]
    assert found.text.to_pylist() == [w.text for w in windows]  # type: ignore[attr-defined]
    for name in COLUMNS:
        expected = np.concatenate([getattr(w, name) for w in windows])
        np.testing.assert_array_equal(getattr(found, name), expected)
        assert getattr(found, name).dtype == expected.dtype


def test_blocks_come_back_from_a_file_as_they_were(blocks: list[list[Window]]) -> None:
    found = list(read_blocks(make_file(blocks)))

    assert len(found) == len(blocks)
    for windows, block in zip(found, blocks, strict=True):
        assert_holds(windows, block)


@pytest.mark.parametrize("rows", [[0], [3, 4, 8], [0, 1, 9, 11, 19], list(range(20))])
def test_rows_are_taken_across_blocks(blocks: list[list[Window]], rows: list[int]) -> None:
    flat = [window for block in blocks for window in block]

    table = take_rows(make_file(blocks), np.array(rows))

    [batch] = table.combine_chunks().to_batches()
    assert_holds(unpack(batch), [flat[i] for i in rows])


def test_no_rows_make_an_empty_table(blocks: list[list[Window]]) -> None:
    assert take_rows(make_file(blocks), np.array([], np.int64)).num_rows == 0


def test_a_sliced_batch_counts_from_its_own_start() -> None:
    batch = pack([make_window(0, [1, 2]), make_window(1, [3, 4, 5]), make_window(2, [6])])

    found = unpack(batch.slice(1))

    assert found.offsets.tolist() == [0, 3, 4]
    assert found.ids.tolist() == [3, 4, 5, 6]


def test_a_window_has_what_its_tokens_span_of_each_of_its_documents() -> None:
    documents, starts, ends = np.array(
        [(0, 3, 5), (0, 6, 8), (0, 0, 0), (1, 0, 0), (2, 1, 4), (2, 1, 4)]
    ).T

    text = cut_text(documents, starts, ends, {0: "abcdefghi", 1: "no", 2: "日本語です"})

    assert text == "defgh" + "本語で"


def test_tokens_are_found_in_the_text_of_their_window() -> None:
    texts = {0: "one two", 1: "", 2: "日本語"}
    spans = [[(0, 0, 3), (0, 3, 7), (0, 0, 0), (1, 0, 0), (2, 1, 2)], [(2, 0, 0), (2, 2, 3)]]
    made = [
        Window(
            i,
            np.zeros(len(rows), np.int32),
            *np.array(rows, np.int32).T,
            np.ones(len(rows), bool),
            cut_text(*np.array(rows, np.int32).T, texts),
        )
        for i, rows in enumerate(spans)
    ]
    windows = unpack(pack(made))

    shift = shift_into_text(windows)

    owner = np.repeat(np.arange(2), windows.lengths)
    found = [
        windows.text[int(w)].as_py()[a + s : b + s]
        for w, a, b, s in zip(owner, windows.starts, windows.ends, shift, strict=True)
        if b > a
    ]
    assert found == ["one", " two", "本", "語"]
