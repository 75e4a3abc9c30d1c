from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.errors import OtherText
from polyseme.contract.files.results import MANIFEST
from polyseme.service.results.same_text import check_same_text, describe_text, list_unlike
from polyseme.workers.analysis.run import run_analysis
from tests.factories import MODEL, PLAN, make_manifest, make_request
from tests.tiny_models import load_tiny

JOBS = ("job_a", "job_b")


def put(manifest: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """A copy with another value at the place."""
    changed = deepcopy(manifest)
    *path, last = pointer.split("/")[1:]
    place = changed
    for name in path:
        place = place[name]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("pointer", "value", "said"),
    [
        ("/corpus/sha256", "b" * 64, "corpus: 000000000000… and bbbbbbbbbbbb…"),
        ("/model/tokenizer_sha256", "b" * 64, "tokenizer: aaaaaaaaaaaa… and bbbbbbbbbbbb…"),
        ("/request/contexts/window", 64, "window: 128 and 64"),
        ("/request/contexts/packing", "concat", "packing: document and concat"),
        ("/request/tokens/bos", "never", "bos: model and never"),
        ("/request/tokens/exclude_special", False, "exclude_special: true and false"),
        ("/request/tokens/exclude_positions", 1, "exclude_positions: 0 and 1"),
        ("/plan/documents", 29, "documents: 30 and 29"),
        ("/plan/windows", 59, "windows: 60 and 59"),
        ("/plan/tokens", 600, "tokens: 640 and 600"),
        ("/plan/counted_tokens", 600, "counted_tokens: 640 and 600"),
    ],
)
def test_a_text_that_differs_is_refused_with_what_differs(
    pointer: str, value: Any, said: str
) -> None:
    own = make_manifest()

    with pytest.raises(OtherText) as caught:
        check_same_text(JOBS, (own, put(own, pointer, value)))

    assert [(d.pointer, d.detail) for d in caught.value.details] == [(pointer, said)]
    assert caught.value.message == f"job_a and job_b have not read the same text: {said}"


def test_a_sentence_names_three_things_and_the_details_all() -> None:
    own = make_manifest()
    other = own | {"plan": {name: n + 1 for name, n in PLAN.items()}}

    with pytest.raises(OtherText) as caught:
        check_same_text(JOBS, (own, other))

    assert len(caught.value.details) == 4
    assert caught.value.message.endswith("; and 1 more")


def test_what_stopped_the_reading_does_not_matter_where_the_same_was_read() -> None:
    own = make_manifest()

    check_same_text(JOBS, (own, put(own, "/request/tokens/max_tokens", 10_000)))


def test_the_text_is_told_by_what_decides_it() -> None:
    text = describe_text(make_manifest())

    assert (text["corpus"], text["window"], text["bos"]) == ("0" * 64, 128, "model")
    assert {name: text[name] for name in PLAN} == PLAN


def test_the_manifest_of_a_real_result_has_all_of_it(tmp_path: Path) -> None:
    texts = [f"w{i % 7} w{i % 5} w{i % 3}" for i in range(60)]
    manifests = []
    for name, layers in (("first", "0"), ("second", "1")):
        model = load_tiny("llama", tmp_path / f"{name}-model")
        request = make_request(neurons={"layers": layers}, senses={"enabled": False})
        run_analysis(model, request, texts, tmp_path / name)
        manifests.append(json.loads((tmp_path / name / MANIFEST).read_text()))

    assert None not in describe_text(manifests[0]).values()
    check_same_text(JOBS, (manifests[0], manifests[1]))
    assert list_unlike((manifests[0], manifests[1])) == [
        {"pointer": "/request/neurons/layers", "values": ["0", "1"]}
    ]


def test_results_that_were_made_alike_have_nothing_unlike() -> None:
    assert list_unlike((make_manifest(), make_manifest())) == []


def test_what_else_is_unlike_is_listed_with_both_values() -> None:
    own = make_manifest() | {"controls": {"per_layer": 64, "recipe": "permuted input rows"}}
    other = make_manifest(
        neurons={"layers": "2"}, contexts={"top_k": 20, "window": 64}, senses={"same_at": 0.5}
    ) | {"dtype": "bfloat16", "controls": None}
    other["model"] = {"id": "another", "weights_sha256": "b" * 64}

    found = {f["pointer"]: f["values"] for f in list_unlike((own, other))}

    assert found == {
        "/model/id": [MODEL, "another"],
        "/model/weights_sha256": ["a" * 64, "b" * 64],
        "/dtype": [None, "bfloat16"],
        "/request/neurons/layers": ["all", "2"],
        "/request/contexts/top_k": [60, 20],
        "/request/senses/same_at": [0.35, 0.5],
        "/controls/per_layer": [64, None],
        "/controls/recipe": ["permuted input rows", None],
    }
