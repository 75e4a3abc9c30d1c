from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from polyseme.service.schemas.fields import (
    Flag,
    Metadata,
    QueryFlag,
    QueryNumber,
    QueryWhole,
    Selected,
    StrictSchema,
    Whole,
)


@pytest.mark.parametrize("value", [True, "1", 1.0, None])
def test_only_a_whole_number_is_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        Whole().deserialize(value)


@pytest.mark.parametrize("value", [1, "true", None])
def test_only_true_and_false_are_flags(value: Any) -> None:
    with pytest.raises(ValidationError):
        Flag().deserialize(value)


def test_a_query_has_numbers_as_plain_ascii_text() -> None:
    assert (QueryWhole().deserialize("-12"), QueryNumber().deserialize("-1.5e-3")) == (-12, -0.0015)
    assert QueryFlag().deserialize("true") is True
    for text in ("", " 1", "+1", "1_000", "١", "1" * 40, "0x1"):
        with pytest.raises(ValidationError):
            QueryWhole().deserialize(text)
    for text in ("nan", "inf", "1e999", "", "."):
        with pytest.raises(ValidationError):
            QueryNumber().deserialize(text)
    with pytest.raises(ValidationError):
        QueryFlag().deserialize("1")


def test_a_selection_is_text_or_whole_numbers() -> None:
    assert Selected().deserialize("0-3,14") == "0-3,14"
    assert Selected().deserialize([3, 1, 3]) == (1, 3)
    with pytest.raises(ValidationError) as caught:
        Selected().deserialize([0, True, -1])
    assert set(caught.value.messages) == {1, 2}


def test_metadata_is_pairs_of_short_strings() -> None:
    assert Metadata().deserialize({"a": "b"}) == {"a": "b"}
    for wrong in (
        [],
        {"a": 1},
        {"": "b"},
        {"a": "x" * 513},
        {"k" * 65: ""},
        {str(i): "" for i in range(17)},
    ):
        with pytest.raises(ValidationError):
            Metadata().deserialize(wrong)


def test_an_unknown_field_is_refused_with_those_that_are_known() -> None:
    class Pair(StrictSchema):
        first = Whole()
        second = Whole()

    assert Pair().validate({"third": 3}) == {"third": ["unknown; known are first, second"]}
