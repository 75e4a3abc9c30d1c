from __future__ import annotations

from polyseme.service.json_text import dump_json, timestamp


def test_a_number_without_a_word_in_json_becomes_null() -> None:
    payload = {"a": [1.5, float("nan")], "b": (float("inf"),), "c": "é"}

    assert dump_json(payload) == '{"a":[1.5,null],"b":[null],"c":"é"}'.encode()


def test_a_time_is_rfc_3339_in_utc() -> None:
    assert timestamp(1_760_000_000.25) == "2025-10-09T08:53:20.250Z"
    assert timestamp(None) is None
