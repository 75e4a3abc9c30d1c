"""The lists against a plain sort of everything that was offered."""

from __future__ import annotations

import pytest
import torch

from polyseme.workers.analysis.scan.statistics.top_lists import (
    EMPTY,
    TopLists,
    decode_windows,
    encode_keys,
    encode_samples,
)

Entry = tuple[float, int, int]  # value, window, document


def decode_values(keys: torch.Tensor) -> torch.Tensor:
    """The float32 value in each key; NaN for EMPTY."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFF_FFFF)).view(torch.float32)


def random_entries(
    seed: int, count: int, *, documents: int = 40, shift: float = 0.0
) -> list[Entry]:
    """Values in steps of a half, so that thousands are tied."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.round(torch.randn(count, generator=generator) * 2) / 2 + shift
    windows = torch.randperm(count, generator=generator)
    owners = torch.randint(documents, (count,), generator=generator)
    return list(zip(values.tolist(), windows.tolist(), owners.tolist(), strict=True))


def sort_naively(entries: list[Entry], k: int, *, distinct: bool) -> list[Entry]:
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda e: (-e[0], e[1])):
        if not distinct or entry[2] not in {e[2] for e in kept}:
            kept.append(entry)
    return kept[:k]


def offer(lists: TopLists, entries: list[Entry]) -> None:
    """The same entries to every list."""
    if not entries:
        return
    values, windows, documents = zip(*entries, strict=True)
    keys = encode_keys(torch.tensor(values), torch.tensor(windows))
    lists.offer(
        keys.expand(len(lists.keys), -1).contiguous(), torch.tensor(documents, dtype=torch.int32)
    )


def held(lists: TopLists, row: int = 0) -> list[Entry]:
    order = lists.ranking()[row]
    keys, documents = lists.keys[row][order], lists.documents[row][order]
    real = keys != EMPTY
    columns = decode_values(keys[real]), decode_windows(keys[real]), documents[real]
    return list(zip(*(c.tolist() for c in columns), strict=True))


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("shift", [0.0, -50.0])
def test_a_list_holds_what_a_sort_of_everything_puts_first(distinct: bool, shift: float) -> None:
    entries = random_entries(1, 4000, shift=shift)
    lists = TopLists(2, 17, distinct=distinct)

    for first in range(0, len(entries), 31):
        offer(lists, entries[first : first + 31])

    assert held(lists, 0) == held(lists, 1) == sort_naively(entries, 17, distinct=distinct)
    assert len({value for value, _, _ in entries}) < 30


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("cuts", [(), (1,), (500,), (7, 8, 400, 999), tuple(range(50, 1000, 50))])
def test_the_lists_of_the_parts_merged_are_those_of_the_whole(
    distinct: bool, cuts: tuple[int, ...]
) -> None:
    entries = random_entries(2, 1000)
    merged = TopLists(1, 9, distinct=distinct)

    for first, end in reversed(list(zip((0, *cuts), (*cuts, 1000), strict=True))):
        part = TopLists(1, 9, distinct=distinct)
        offer(part, entries[first:end])
        merged.offer(part.keys, part.documents)

    assert held(merged) == sort_naively(entries, 9, distinct=distinct)


def test_a_list_with_room_holds_all_there_is() -> None:
    entries = random_entries(3, 5, documents=2)
    plain, distinct = TopLists(1, 8, distinct=False), TopLists(1, 8, distinct=True)

    offer(plain, entries)
    offer(distinct, entries)

    assert held(plain) == sort_naively(entries, 8, distinct=False)
    assert len(held(distinct)) == len({document for _, _, document in entries})


def test_what_entered_is_told_with_its_place() -> None:
    lists = TopLists(2, 2, distinct=False)
    keys = encode_keys(torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]]), torch.arange(3))

    first = lists.offer(keys, torch.arange(3, dtype=torch.int32))
    nothing = lists.offer(
        encode_keys(torch.tensor([[1.5], [-1.5]]), torch.tensor([3])), torch.tensor([3]).int()
    )

    assert sorted(zip(first.lists.tolist(), first.columns.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
    ]
    assert (lists.keys[first.lists, first.slots] == keys[first.lists, first.columns]).all()
    assert len(nothing.lists) == 0


def test_a_better_window_of_a_document_takes_its_place() -> None:
    lists = TopLists(1, 3, distinct=True)
    offer(lists, [(5.0, 0, 0), (4.0, 1, 1), (3.0, 2, 2)])

    offer(lists, [(3.5, 3, 2), (3.2, 4, 0), (3.1, 5, 3)])

    assert held(lists) == [(5.0, 0, 0), (4.0, 1, 1), (3.5, 3, 2)]


def test_zero_of_either_sign_is_one_value_and_the_earlier_window_goes_first() -> None:
    lists = TopLists(1, 2, distinct=False)

    offer(lists, [(0.0, 7, 0), (-0.0, 3, 1), (-0.0, 9, 2)])

    assert [window for _, window, _ in held(lists)] == [3, 7]


def test_keys_give_back_value_and_window_and_sort_like_them() -> None:
    values = torch.tensor([-3e38, -2.0, -1e-40, 0.0, 1e-40, 0.1, 2.0, 3e38])
    windows = torch.tensor([0, 5, 2**31 - 1, 1, 9, 2**30, 3, 4])

    keys = encode_keys(values, windows)

    assert (keys.diff() > 0).all()
    assert torch.equal(decode_values(keys), values)
    assert torch.equal(decode_windows(keys), windows)
    assert (encode_keys(values[:1], windows[:1]) > EMPTY).all()
    assert decode_values(torch.tensor([EMPTY])).isnan().all()


def test_samples_sort_by_priority_then_by_the_earlier_window() -> None:
    keys = encode_samples(torch.tensor([1, 1, 2**31 - 1]), torch.tensor([5, 4, 9]))

    assert keys.argsort(descending=True).tolist() == [2, 1, 0]
    assert decode_windows(keys).tolist() == [5, 4, 9]
