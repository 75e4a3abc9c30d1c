"""Selections as clients write them."""

from __future__ import annotations

import pytest

from polyseme.contract.errors import InvalidSelection, UnknownLayer, UnknownNeuron
from polyseme.contract.records.selection import (
    Selection,
    format_ranges,
    normalise,
    parse_ranges,
    resolve_layers,
    resolve_neurons,
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("all", (0, 1, 2, 3, 4)),
        ("0-2,4", (0, 1, 2, 4)),
        ([3, 1, 3], (1, 3)),
        ("2", (2,)),
        ("3-4,3", (3, 4)),
    ],
)
def test_what_is_chosen_ascends_each_once(selection: Selection, expected: tuple[int, ...]) -> None:
    assert resolve_layers(selection, 5, "m") == resolve_neurons(selection, 5, "m") == expected


@pytest.mark.parametrize("selection", ["", "1-", "a", "2-1", "-1", "1,,2", [], [-1], "٣"])
def test_what_is_no_selection_is_refused(selection: Selection) -> None:
    with pytest.raises(InvalidSelection) as caught:
        resolve_layers(selection, 5, "m")
    assert caught.value.details[0].pointer == "/neurons/layers"


@pytest.mark.parametrize("selection", ["5", "0-9999999", [5]])
def test_what_the_model_does_not_have_is_named(selection: Selection) -> None:
    with pytest.raises(UnknownLayer, match="of m: it has 0 to 4"):
        resolve_layers(selection, 5, "m")
    with pytest.raises(UnknownNeuron, match="0 to 4"):
        resolve_neurons(selection, 5, "m")


def test_ranges_are_given_by_their_ends() -> None:
    assert parse_ranges("0-3,14") == (0, 3, 14, 14)
    assert parse_ranges("x") is None


@pytest.mark.parametrize("text", ["0", "0-2", "1,3", "0-3,5,7-8"])
def test_numbers_are_written_as_the_ranges_they_came_from(text: str) -> None:
    assert format_ranges(resolve_layers(text, 9, "m")) == text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("all", "all"),
        ("0-3,14", "0-3,14"),
        ("14,0-2,3,3,3", "0-3,14"),
        ("5,1-9,2-3", "1-9"),
        ("0-9999999", "0-9999999"),
        ("3-1", "3-1"),
        ("no ranges", "no ranges"),
        ((5, 0, 5, 5, 1), (0, 1, 5)),
    ],
)
def test_a_selection_is_kept_once_and_in_order(given: Selection, kept: Selection) -> None:
    assert normalise(given) == kept


def test_what_is_repeated_a_hundred_thousand_times_is_kept_once() -> None:
    assert normalise((7,) * 100_000) == (7,)
    assert normalise(",".join(["7"] * 100_000)) == "7"
