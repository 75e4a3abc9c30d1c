from __future__ import annotations

import pyarrow as pa

from polyseme.service.results.comparison_sentence import say_difference
from polyseme.service.results.unit_groups import Group, compare_groups

END = (
    "; this is of these units in this text, and says nothing of other texts, of why it is so, or "
    "of what a unit is for."
)


def make_group(polysemantic: int, others: int, score: float, status: str = "described") -> Group:
    """Of units with scores around one."""
    units = polysemantic + others
    return Group(
        pa.table(
            {
                "status": ["polysemantic"] * polysemantic + [status] * others,
                "distinct_contexts": pa.array([50] * units, pa.int32()),
                "polysemanticity": [score + i / 10_000 for i in range(units)],
            }
        )
    )


def say(first: Group, second: Group, controls: tuple[Group, Group] | None = None) -> str:
    return say_difference(compare_groups(first, second), (first, second), controls)


def test_what_is_sure_is_said_with_both_numbers_and_those_of_control_units() -> None:
    controls = make_group(3, 61, 0.85), make_group(2, 62, 0.86)

    assert say(make_group(300, 700, 0.7), make_group(60, 940, 0.5), controls) == (
        "A larger share of the first than of the second is called polysemantic, 30.0 % and 6.0 % "
        "(control units: 4.7 % and 3.1 %), and the median score of the first is higher, 0.750 and "
        "0.550 (control units: 0.853 and 0.863)" + END
    )


def test_the_smaller_and_the_lower_are_called_so() -> None:
    said = say(make_group(60, 940, 0.5), make_group(300, 700, 0.7))

    assert "A smaller share of the first" in said
    assert "the median score of the first is lower, 0.550 and 0.750;" in said


def test_what_chance_may_give_is_said_to_be_so() -> None:
    assert say(make_group(30, 70, 0.7), make_group(28, 72, 0.7)) == (
        "The shares called polysemantic, 30.0 % and 28.0 %, may differ by chance alone, and the "
        "median scores, 0.705 and 0.705, may differ by chance alone" + END
    )


def test_what_is_not_known_is_said_to_be_so() -> None:
    unscored = Group(make_group(0, 5, 0.7, "not_scored").table)

    assert say(unscored, make_group(3, 4, 0.7)) == (
        "How many are polysemantic is not known of both, since senses were switched off, and too "
        "few units have a score to compare their medians" + END
    )
