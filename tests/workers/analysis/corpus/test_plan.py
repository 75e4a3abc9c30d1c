"""Windows, blocks and shards by hand, with a tokenizer for which every character is a token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from polyseme.contract.errors import EmptyCorpus
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Contexts, Tokens
from polyseme.workers.analysis.corpus.plan import (
    BLOCK_ROWS,
    Plan,
    cut_windows,
    group_blocks,
    read_plan,
    window_priority,
    windows_file,
    write_plan,
)
from polyseme.workers.analysis.corpus.windows import Window, read_blocks
from polyseme.workers.analysis.models.tokens import Framing
from tests.workers.analysis.builders import LETTERS, make_window, tokenize_letters

BOS, SEPARATOR = 1, 2


def make_framing(*, prefix: tuple[int, ...] = (), suffix: tuple[int, ...] = ()) -> Framing:
    return Framing(prefix, suffix, SEPARATOR, frozenset({BOS, SEPARATOR, 3}), 0)


def cut(texts: Sequence[str], framing: Framing | None = None, **options: Any) -> list[Window]:
    names = ("window", "packing")
    contexts = Contexts(**{k: v for k, v in options.items() if k in names})
    tokens = Tokens(**{k: v for k, v in options.items() if k not in names})
    return list(cut_windows(texts, tokenize_letters, framing or make_framing(), contexts, tokens))


def spell(window: Window) -> str:
    """The window's letters, special tokens as digits."""
    return "".join(chr(i - LETTERS) if i > LETTERS else str(i) for i in window.ids)


def mark(window: Window) -> str:
    return "".join("+" if c else "-" for c in window.counted)


def test_documents_are_cut_apart_and_never_joined() -> None:
    windows = cut(["abcdefg", "", "hi"], window=4)

    assert [spell(w) for w in windows] == ["abcd", "efg", "hi"]
    assert [w.documents.tolist() for w in windows] == [[0] * 4, [0] * 3, [2] * 2]
    assert [w.starts.tolist() for w in windows] == [[0, 1, 2, 3], [4, 5, 6], [0, 1]]
    assert [w.ends.tolist() for w in windows] == [[1, 2, 3, 4], [5, 6, 7], [1, 2]]
    assert [w.number for w in windows] == [0, 1, 2]


def test_joined_documents_are_cut_every_so_many_tokens() -> None:
    windows = cut(["abc", "", "defgh", "i"], window=4, packing="concat")

    assert [spell(w) for w in windows] == ["abc2", "defg", "h2i2"]
    assert [w.documents.tolist() for w in windows] == [[0] * 4, [2] * 4, [2, 2, 3, 3]]
    assert [w.starts.tolist() for w in windows] == [[0, 1, 2, 0], [0, 1, 2, 3], [4, 0, 0, 0]]
    assert [mark(w) for w in windows] == ["+++-", "++++", "+-+-"]


def test_a_separator_left_over_goes_before_the_next_document_and_makes_no_window() -> None:
    assert [spell(w) for w in cut(["abcd", "ef"], window=4, packing="concat")] == ["abcd", "2ef2"]
    assert [spell(w) for w in cut(["abcd"], window=4, packing="concat")] == ["abcd"]
    assert [spell(w) for w in cut(["abc", "d"], window=2, packing="concat")] == ["ab", "c2", "d2"]


def test_a_long_document_and_many_short_ones_pack_as_their_joined_text() -> None:
    texts = ["a" * 37, *"bcdefgh", "i" * 11]
    joined = "2".join(texts)

    windows = cut(texts, window=5, packing="concat", exclude_special=False)

    assert [spell(w) for w in windows] == [joined[i : i + 5] for i in range(0, len(joined), 5)]


@pytest.mark.parametrize("packing", ["document", "concat"])
def test_special_tokens_frame_every_window_within_its_size(packing: str) -> None:
    framing = make_framing(prefix=(BOS,), suffix=(3,))

    windows = cut(["abcd"], framing, window=4, packing=packing)

    assert [spell(w) for w in windows] == ["1ab3", "1cd3"]
    assert [mark(w) for w in windows] == ["-++-", "-++-"]
    assert windows[1].starts.tolist() == [0, 2, 3, 0]
    assert windows[1].ends.tolist() == [0, 3, 4, 0]


def test_a_frame_belongs_to_the_document_beside_it() -> None:
    framing = make_framing(prefix=(BOS,), suffix=(3,))

    [window] = cut(["a", "b"], framing, window=8, packing="concat")

    assert spell(window) == "1a2b3"
    assert window.documents.tolist() == [0, 0, 0, 1, 1]


def test_what_is_excluded_is_not_counted() -> None:
    framing = make_framing(prefix=(BOS,))

    assert [mark(w) for w in cut(["abcd"], framing, window=4)] == ["-+++", "-+"]
    assert [mark(w) for w in cut(["abcd"], framing, window=4, exclude_special=False)] == [
        "++++",
        "++",
    ]
    assert [mark(w) for w in cut(["abcd"], framing, window=5, exclude_positions=3)] == ["---++"]


def test_a_window_without_a_counted_token_is_left_out_and_takes_no_number() -> None:
    windows = cut(["ab", "c", "def"], window=4, exclude_positions=1)

    assert [spell(w) for w in windows] == ["ab", "def"]
    assert [w.number for w in windows] == [0, 1]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(3, []), (4, ["abcd"]), (9, ["abcd", "efgh"]), (10, ["abcd", "efgh", "ij"])],
)
def test_planning_stops_before_more_tokens_than_allowed(most: int, expected: list[str]) -> None:
    assert [spell(w) for w in cut(["abcdefghij"], window=4, max_tokens=most)] == expected


def random_texts(count: int, *, longest: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        "".join(rng.choice(list("abcdef"), int(rng.integers(1, longest + 1)))) for _ in range(count)
    ]


def plan_texts(
    store: Store, folder: str, texts: Iterable[str], shard_tokens: int
) -> tuple[Plan, list[Window]]:
    windows = cut_windows(
        texts, tokenize_letters, make_framing(prefix=(BOS,)), Contexts(window=32), Tokens()
    )
    return write_plan(
        store,
        folder,
        windows,
        block_tokens=256,
        shard_tokens=shard_tokens,
        on_tokens=lambda n: None,
    )


def planned_blocks(store: Store, folder: str, plan: Plan) -> list[list[int]]:
    """The numbers of the windows in every block."""
    found = []
    for shard in range(len(plan.shards)):
        with store.open(windows_file(folder, shard)) as f:
            found += [windows.number.tolist() for windows in read_blocks(f)]
    return found


@pytest.mark.parametrize("shard_tokens", [1, 700, 5000, 10**9])
def test_blocks_and_calibration_do_not_depend_on_the_shards(
    store: Store, shard_tokens: int
) -> None:
    texts = random_texts(400)
    whole, sample = plan_texts(store, "whole", texts, 3000)

    plan, same = plan_texts(store, "other", texts, shard_tokens)

    assert planned_blocks(store, "other", plan) == planned_blocks(store, "whole", whole)
    assert [w.number for w in same] == [w.number for w in sample]
    for name in ("documents", "windows", "tokens", "counted_tokens", "padding"):
        assert getattr(plan, name) == getattr(whole, name)


def test_the_plan_counts_what_is_in_its_files(store: Store) -> None:
    texts = random_texts(400)

    plan, _ = plan_texts(store, "w", texts, 3000)

    assert plan == read_plan(store, "w")
    assert len(plan.shards) > 2
    assert plan.documents == 400
    assert plan.counted_tokens == sum(map(len, texts))
    assert plan.tokens == plan.counted_tokens + plan.windows
    assert sum(s.tokens for s in plan.shards) == plan.tokens
    assert [s.first_row for s in plan.shards] == np.cumsum([0, *(s.rows for s in plan.shards)])[
        :-1
    ].tolist()
    assert sorted(n for block in planned_blocks(store, "w", plan) for n in block) == list(
        range(plan.windows)
    )


def test_little_is_run_for_nothing(store: Store) -> None:
    plan, _ = plan_texts(store, "w", random_texts(600), 10**9)

    assert plan.padding < 0.02 * plan.tokens


def test_shards_end_at_the_block_that_fills_them(store: Store) -> None:
    plan, _ = plan_texts(store, "w", random_texts(400), 3000)

    assert all(3000 <= s.tokens < 3000 + 256 for s in plan.shards[:-1])


def test_progress_is_the_tokens_planned_so_far(store: Store) -> None:
    seen: list[int] = []
    windows = (make_window(i, [9] * 10) for i in range(30))

    plan, _ = write_plan(
        store, "w", windows, block_tokens=50, shard_tokens=100, on_tokens=seen.append
    )

    assert seen == [100, 200, 300]
    assert plan.tokens == 300


def test_a_corpus_without_a_counted_token_cannot_be_planned(store: Store) -> None:
    with pytest.raises(EmptyCorpus, match="no window with a counted token"):
        plan_texts(store, "w", ["", ""], 100)


def test_blocks_hold_windows_of_like_length_within_their_size() -> None:
    rng = np.random.default_rng(1)
    windows = [make_window(i, [9] * int(rng.integers(1, 30))) for i in range(1500)]

    blocks = list(group_blocks(windows, 64))

    first = [w for b in blocks for w in b][:1024]
    assert [(-len(w), w.number) for w in first] == sorted(
        (-len(w), w.number) for w in windows[:1024]
    )
    assert all(len(b[0]) * len(b) <= 64 for b in blocks)
    assert sum(map(len, blocks)) == 1500


@pytest.mark.parametrize("block_tokens", [1024, 8192, 32_768])
def test_blocks_of_any_size_have_little_padding(block_tokens: int) -> None:
    rng = np.random.default_rng(2)
    # Documents of a few windows each, whose last one is as long as is left.
    lengths = np.where(rng.random(20_000) < 0.75, 128, rng.integers(1, 129, 20_000)).tolist()
    windows = [make_window(number, [9] * length) for number, length in enumerate(lengths)]

    padded = sum(max(map(len, block)) * len(block) for block in group_blocks(windows, block_tokens))

    assert padded < 1.02 * sum(lengths)


def test_a_window_longer_than_a_block_runs_alone_and_rows_are_bounded() -> None:
    assert [len(b) for b in group_blocks([make_window(i, [9] * 100) for i in range(3)], 64)] == [
        1,
        1,
        1,
    ]
    assert (
        max(len(b) for b in group_blocks([make_window(i, [9]) for i in range(600)], 4096))
        == BLOCK_ROWS
    )


@pytest.mark.parametrize(
    ("windows", "size"), [(5, 5), (16, 16), (300, 16), (1000, 50), (9000, 256)]
)
def test_the_calibration_sample_is_the_windows_of_smallest_priority(
    store: Store, windows: int, size: int
) -> None:
    made = (make_window(i, [9]) for i in range(windows))

    _, sample = write_plan(
        store, "w", made, block_tokens=256, shard_tokens=10**9, on_tokens=lambda n: None
    )

    order = np.argsort(window_priority(np.arange(windows)), kind="stable")
    assert [w.number for w in sample] == order[:size].tolist()


def test_priorities_are_spread_evenly_over_31_bits() -> None:
    priorities = window_priority(np.arange(100_000))

    assert priorities.dtype == np.int64
    assert priorities.min() >= 0
    assert priorities.max() < 2**31
    assert len(np.unique(priorities)) > 99_990
    counts = np.bincount(priorities >> 27, minlength=16)
    assert (abs(counts - 6250) < 5 * np.sqrt(6250)).all()
    assert priorities[7] == window_priority(np.array([7], np.int32))[0]


def test_windows_hold_their_part_of_the_document() -> None:
    framing = make_framing(prefix=(BOS,), suffix=(3,))

    windows = cut(["日本語 text", "b\rc"], framing, window=6)

    assert [w.text for w in windows] == ["日本語 ", "text", "b\rc"]


def test_windows_of_joined_documents_hold_a_part_of_each() -> None:
    windows = cut(["abc", "", "defgh", "i"], window=4, packing="concat")

    assert [w.text for w in windows] == ["abc", "defg", "hi"]
