"""One sentence on two results beside each other: what the comparison says, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

from polyseme.service.results.intervals import Difference
from polyseme.service.results.unit_groups import Differences, Group

Pair = tuple[Group, Group]


def say_difference(found: Differences, neurons: Pair, controls: Pair | None) -> str:
    """controls: None where either result has none."""
    return (
        f"{_say_shares(found.polysemantic, neurons, controls)}, and "
        f"{_say_medians(found.median_score, neurons, controls)}; this is of these units in this "
        f"text, and says nothing of other texts, of why it is so, or of what a unit is for."
    )


def _say_shares(found: Difference | None, neurons: Pair, controls: Pair | None) -> str:
    if found is None:
        return "How many are polysemantic is not known of both, since senses were switched off"
    numbers = _both(neurons, controls, _share)
    if not found.is_sure:
        return f"The shares called polysemantic, {numbers}, may differ by chance alone"
    size = "larger" if found.difference > 0 else "smaller"
    return f"A {size} share of the first than of the second is called polysemantic, {numbers}"


def _say_medians(found: Difference | None, neurons: Pair, controls: Pair | None) -> str:
    if found is None:
        return "too few units have a score to compare their medians"
    numbers = _both(neurons, controls, _median)
    if not found.is_sure:
        return f"the median scores, {numbers}, may differ by chance alone"
    size = "higher" if found.difference > 0 else "lower"
    return f"the median score of the first is {size}, {numbers}"


def _both(neurons: Pair, controls: Pair | None, show: Callable[[Group], str]) -> str:
    beside = f" (control units: {show(controls[0])} and {show(controls[1])})" if controls else ""
    return f"{show(neurons[0])} and {show(neurons[1])}{beside}"


def _share(group: Group) -> str:
    count, of = group.count_polysemantic()
    return f"{100 * count / of:.1f} %" if of else "unknown"


def _median(group: Group) -> str:
    middle = group.median_score
    return "unknown" if middle is None else f"{middle:.3f}"
