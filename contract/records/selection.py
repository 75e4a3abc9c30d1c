"""Layers and neurons as clients write them:

"all", a list, or ranges such as "0-3,14". Knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from polyseme.contract.errors import InvalidSelection, UnknownLayer, UnknownNeuron

Selection = str | Sequence[int]

_RANGES = re.compile(r"\d{1,7}(-\d{1,7})?(,\d{1,7}(-\d{1,7})?)*", re.ASCII)


def resolve_layers(selection: Selection, count: int, model: str) -> tuple[int, ...]:
    """The selected layers, ascending, each once. Raises UnknownLayer or InvalidSelection."""
    chosen = _resolve(selection, count, "/neurons/layers")
    if chosen and chosen[-1] >= count:
        raise UnknownLayer(
            f"layer {chosen[-1]} of {model}: it has 0 to {count - 1}", pointer="/neurons/layers"
        )
    return chosen


def resolve_neurons(selection: Selection, count: int, model: str) -> tuple[int, ...]:
    """The selected neuron indices of a layer, ascending, each once.

    Raises UnknownNeuron beyond `count`.
    """
    chosen = _resolve(selection, count, "/neurons/indices")
    if chosen and chosen[-1] >= count:
        raise UnknownNeuron(
            f"neuron {chosen[-1]} of {model}: a layer has 0 to {count - 1}",
            pointer="/neurons/indices",
        )
    return chosen


def parse_ranges(text: str) -> tuple[int, ...] | None:
    """The numbers of "0-3,14" as the ends of its ranges, (0, 3, 14, 14);

    None when the text is no list of ranges.
    """
    if not _RANGES.fullmatch(text):
        return None
    ends: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        ends += [int(first), int(last or first)]
    return tuple(ends)


def normalise(selection: Selection) -> Selection:
    """The same numbers in their order, each once, in as few ranges: a job keeps its request.

    A text that is no list of ranges stays as it is, and so does one with a range that descends.
    """
    if not isinstance(selection, str):
        return tuple(sorted(set(selection)))
    ends = parse_ranges(selection) or ()
    ranges = sorted(zip(ends[::2], ends[1::2], strict=True))
    if not ranges or any(last < first for first, last in ranges):
        return selection
    merged = [ranges[0]]
    for first, last in ranges[1:]:
        if first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in merged)


def format_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as clients write them: "0-3,14"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _resolve(selection: Selection, count: int, pointer: str) -> tuple[int, ...]:
    if selection == "all":
        return tuple(range(count))
    if not isinstance(selection, str):
        chosen = set(selection)
        if not chosen or min(chosen) < 0:
            raise InvalidSelection(
                f'{list(selection)!r}: use "all", a list of numbers from 0, or ranges such as '
                f'"0-3,14"',
                pointer=pointer,
            )
        return tuple(sorted(chosen))
    ends = parse_ranges(selection)
    if ends is None:
        raise InvalidSelection(
            f'{selection[:80]!r}: use "all", a list of numbers, or ranges such as "0-3,14"',
            pointer=pointer,
        )
    numbers: set[int] = set()
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        if last < first:
            raise InvalidSelection(f"{first}-{last}: a range ascends", pointer=pointer)
        # One number past the end is enough for the caller to refuse it, and keeps "0-9999999"
        # small.
        numbers.update(range(first, min(last, count) + 1) if first < count else (first,))
    return tuple(sorted(numbers))
