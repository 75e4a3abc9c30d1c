"""Uploads of directions, and what jobs say of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from safetensors.numpy import load, save

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.model_card import SiteCard
from polyseme.contract.records.tenants import Tenant
from polyseme.contract.records.vector_set import VectorSet
from tests.factories import MODEL, make_body, make_card, run_job

BYTES = {"Content-Type": "application/octet-stream"}
WIDTH = 16
METADATA = {"model": MODEL, "site": "resid_post", "layer": "2"}


@pytest.fixture(autouse=True)
def card(board: Board, http: FlaskClient) -> None:
    mlp = SiteCard("mlp", 48, "blocks.{layer}.mlp.hook_post", signed=True)
    post = SiteCard("resid_post", WIDTH, "blocks.{layer}.hook_resid_post", signed=True)
    middle = SiteCard(
        "resid_mid", 0, "blocks.{layer}.hook_resid_mid", True, "its blocks are parallel"
    )
    mlp_in = SiteCard("mlp_in", WIDTH, "blocks.{layer}.mlp.hook_in", signed=True)
    board.registry.put_card(make_card(sites=(mlp, middle, post, mlp_in)))


def rows(count: int = 3, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def body(**changes: Any) -> dict[str, Any]:
    sent = {"model": MODEL, "site": "resid_post", "layer": 2, "vectors": rows().tolist()}
    return {name: value for name, value in (sent | changes).items() if value is not ...}


def add(http: FlaskClient, **changes: Any) -> str:
    answer = http.post("/v1/vectors", json=body(**changes))
    assert answer.status_code in (200, 201), answer.get_json()
    return str(answer.get_json()["id"])


def record(board: Board, name: str) -> VectorSet:
    found = board.registry.get_vectors(name)
    assert found is not None
    return found


def pointers(answer: Any) -> list[str]:
    return [d["pointer"] for d in answer.get_json().get("errors", [])]


def stored(store: Store, name: str) -> Mapping[str, np.ndarray]:
    return load(store.read(Layout.vectors(name)))


def test_json_becomes_a_set_whose_file_has_the_numbers(http: FlaskClient, store: Store) -> None:
    answer = http.post(
        "/v1/vectors",
        json=body(name="tenses", bias=[0, 1.5, -2], labels=["past", "", "naïve"]),
    )

    shown = answer.get_json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/vectors/{shown['id']}")
    wanted = {"object": "vectors", "name": "tenses", "layer": 2, "count": 3, "width": WIDTH}
    assert wanted.items() <= shown.items()
    assert shown["labels"] == ["past", "", "naïve"]
    assert http.get(answer.headers["Location"]).get_json() == shown
    assert (stored(store, shown["id"])["vectors"] == rows()).all()
    assert stored(store, shown["id"])["bias"].tolist() == [0, 1.5, -2]


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_a_safetensors_file_of_any_float_gives_its_numbers(
    http: FlaskClient, store: Store, dtype: str
) -> None:
    sent = rows(5)
    if dtype == "BF16":
        content, sent = as_bf16(sent)
    else:
        kind = {"F64": np.float64, "F32": np.float32, "F16": np.float16}[dtype]
        sent = sent.astype(kind)
        content = save({"vectors": sent, "bias": sent[:, 0].copy()}, METADATA)

    answer = http.post("/v1/vectors", data=content, headers=BYTES)

    assert answer.status_code == 201, answer.get_json()
    found = stored(store, answer.get_json()["id"])
    assert (found["vectors"] == sent.astype(np.float32)).all()
    assert answer.get_json()["has_bias"] == ("bias" in found) == (dtype != "BF16")


def as_bf16(numbers: np.ndarray) -> tuple[bytes, np.ndarray]:
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    exact = (upper.astype(np.uint32) << 16).view(np.float32)
    entry = {"dtype": "BF16", "shape": list(numbers.shape), "data_offsets": [0, upper.nbytes]}
    return packed({"vectors": entry, "__metadata__": METADATA}, upper.tobytes()), exact


def packed(header: Any, numbers: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def test_json_and_a_file_of_the_same_content_are_one_set(http: FlaskClient) -> None:
    one = http.post("/v1/vectors", json=body(labels=["a", "b", "c"]))
    metadata = METADATA | {"labels": '["a", "b", "c"]', "format": "pt"}
    two = http.post("/v1/vectors", data=save({"vectors": rows()}, metadata), headers=BYTES)
    of_query = http.post(
        f"/v1/vectors?model={MODEL}&site=resid_post&layer=2",
        data=save({"vectors": rows()}, {"labels": '["a","b","c"]'}),
        headers=BYTES,
    )

    assert (one.status_code, two.status_code, of_query.status_code) == (201, 200, 200)
    assert one.get_json() == two.get_json() == of_query.get_json()


def test_what_is_said_of_the_numbers_makes_another_set_of_the_same_units(
    http: FlaskClient, board: Board
) -> None:
    named = [add(http), add(http, name="b"), add(http, labels=["x", "y", "z"])]
    others = [
        add(http, layer=1),
        add(http, site="mlp_in"),
        add(http, bias=[0, 0, 1]),
        add(http, vectors=rows(seed=1).tolist()),
        add(http, normalize=True),
    ]

    assert len({*named, *others}) == 8
    assert len({record(board, name).units_sha256 for name in named}) == 1
    assert len({record(board, name).units_sha256 for name in (*named, *others)}) == 6


def test_normalised_vectors_have_length_one_and_fire_at_the_same_places(
    http: FlaskClient, store: Store
) -> None:
    sent = rows(4) * np.array([[1e-20], [1], [30], [1e15]], np.float32)

    name = add(http, vectors=sent.tolist(), bias=[1e-20, 2, 3, 0], normalize=True)

    found, wide = stored(store, name), sent.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    assert np.allclose(found["vectors"], wide / lengths[:, None], rtol=1e-6)
    assert np.allclose(found["bias"], np.array([1e-20, 2, 3, 0]) / lengths, rtol=1e-6)


def with_number(value: Any, at: tuple[int, int] = (1, 3)) -> Sequence[Sequence[Any]]:
    numbers: list[list[Any]] = rows().tolist()
    numbers[at[0]][at[1]] = value
    return numbers


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"vectors": ...}, "/vectors", "required"),
        ({"vectors": []}, "/vectors", "a list of vectors"),
        ({"vectors": [[]]}, "/vectors/0", "a list of numbers"),
        ({"vectors": rows().ravel().tolist()}, "/vectors/0", "a list of numbers"),
        ({"vectors": {"0": [1]}}, "/vectors", "a list of vectors"),
        ({"vectors": with_number("1.0")}, "/vectors/1/3", "finite number"),
        ({"vectors": with_number(True)}, "/vectors/1/3", "finite number"),
        ({"vectors": with_number(None)}, "/vectors/1/3", "finite number"),
        ({"vectors": with_number(10**400)}, "/vectors/1/3", "finite number"),
        ({"vectors": with_number([1.0])}, "/vectors/1/3", "finite number"),
        ({"vectors": with_number(1e39)}, "/vectors/1/3", "1e+39"),
        ({"vectors": [*rows().tolist(), [1.0]]}, "/vectors/3", "1 numbers, and the first has 16"),
        ({"vectors": [*rows().tolist(), [0.0] * WIDTH]}, "/vectors/3", "zero everywhere"),
        ({"vectors": [[1e-60] * WIDTH]}, "/vectors/0", "zero everywhere"),
        ({"vectors": rows(width=15).tolist()}, "/vectors", "15 numbers: resid_post of"),
        ({"vectors": [[1.0]] * 4097}, "/vectors", "4097"),
        ({"bias": [1.0, 2.0]}, "/bias", "2 for 3"),
        ({"bias": [1.0, 2.0, "x"]}, "/bias/2", "finite"),
        ({"bias": [1.0, 2.0, 1e39]}, "/bias/2", "1e+39"),
        ({"labels": ["a"]}, "/labels", "1 for 3"),
        ({"labels": ["a", "b", 3]}, "/labels/2", "string"),
        ({"labels": ["a", "b", "c" * 101]}, "/labels/2", "100 characters"),
        ({"model": "other"}, "/model", "the models are"),
        ({"model": ...}, "/model", "required"),
        ({"site": "resid_pre"}, "/site", "it has mlp, resid_post, mlp_in"),
        ({"site": "resid_mid"}, "/site", "its blocks are parallel"),
        ({"site": "vectors"}, "/site", "it has mlp"),
        ({"site": "mlp"}, "/vectors", "mlp of tiny-gated has 48"),
        ({"layer": 4}, "/layer", "0 to 3"),
        ({"layer": -1}, "/layer", "from 0"),
        ({"layer": "2"}, "/layer", "whole number"),
        ({"name": "../x"}, "/name", "letters"),
        ({"normalize": 1}, "/normalize", "true or false"),
        ({"vector": [1]}, "/vector", "unknown"),
    ],
)
def test_what_is_no_set_is_refused_with_a_pointer(
    http: FlaskClient, board: Board, store: Store, changes: dict[str, Any], pointer: str, said: str
) -> None:
    answer = http.post("/v1/vectors", json=body(**changes))

    assert answer.status_code == 422, answer.get_json()
    assert pointer in pointers(answer), answer.get_json()
    assert said in json.dumps(answer.get_json()["errors"])
    assert board.registry.list_vectors() == []
    assert store.names("vectors") == []


def test_numbers_that_json_does_not_have_are_no_json(http: FlaskClient) -> None:
    for word in ("NaN", "Infinity", "-Infinity"):
        text = json.dumps(body()).replace("[[", f"[[{word}, ", 1)
        answer = http.post("/v1/vectors", data=text, content_type="application/json")
        assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")


def entry(shape: Sequence[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


NUMBERS = rows(2).tobytes()
SAID = {"__metadata__": METADATA}
WHOLE = SAID | {"vectors": entry((2, WIDTH), 0, len(NUMBERS))}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", "header is too long"),  # a pickle
        (b"PK\x03\x04" + bytes(60), "header is too long"),  # a zip, as torch.save writes
        (b"\x93NUMPY\x01\x00v\x00" + bytes(200), "header is too long"),  # .npy
        (packed(WHOLE, NUMBERS, length=2**63), "header is too long"),
        (packed(WHOLE, NUMBERS, length=(2 << 20) + 1), "header is too long"),
        (packed(WHOLE, b"", length=1000), "ends early"),
        (packed(WHOLE, NUMBERS[:-1]), "header speaks of"),
        (packed(WHOLE, NUMBERS + b"x"), "header speaks of"),
        (packed(WHOLE, NUMBERS, length=20), "header"),
        (packed(b"[]" + b" " * 6), "no JSON object"),
        (packed(b"\xff\xfe{}"), "no UTF-8"),
        (packed(b'{"vectors": 1, "vectors": 2}'), "header"),
        (packed(b"[" * 3000 + b"]" * 3000), "header"),
        (packed({"vectors": 3}), "has not just"),
        (packed({"vectors": entry((2,), 0, 8) | {"code": "x"}}, b"8" * 8), "has not just"),
        (packed({"vectors": entry((2, -1), 0, 8)}, b"8" * 8), "whole numbers"),
        (packed({"vectors": entry((2, 1.0), 0, 8)}, b"8" * 8), "whole numbers"),  # type: ignore[arg-type]
        (packed({"vectors": entry((2, 1), 0, 9)}, b"9" * 9), "data_offsets say 9"),
        (packed({"vectors": entry((1 << 40, 1 << 40), 0, 8)}, b"8" * 8), "data_offsets say 8"),
        (packed({"vectors": entry((2, 1), 8, 0)}, b"8" * 8), "data_offsets say -8"),
        (packed({"vectors": entry((2, 1), 8, 16)}, b"8" * 16), "does not begin"),
        (
            packed(
                {"vectors": entry((2, 1), 0, 8), "bias": entry((2,), 4, 12)},
                b"8" * 12,
            ),
            "does not begin",
        ),
        (packed({"vectors": entry((2, 1), 0, 8, "O")}, b"8" * 8), "of the dtype 'O'"),
        (packed(WHOLE | {"__metadata__": {"layer": 2}}, NUMBERS), "texts alone"),
    ],
)
def test_a_file_whose_header_lies_is_no_safetensors(
    http: FlaskClient, board: Board, content: bytes, said: str
) -> None:
    answer = http.post("/v1/vectors", data=content, headers=BYTES)

    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")
    assert said in answer.get_json()["detail"], answer.get_json()
    assert board.registry.list_vectors() == []


def with_metadata(**changes: str) -> bytes:
    said = {k: v for k, v in (METADATA | changes).items() if v}
    return save({"vectors": rows()}, said)


@pytest.mark.parametrize(
    ("content", "query", "pointer", "said"),
    [
        (save({"bias": rows()[0]}, METADATA), "", "/vectors", "no tensor `vectors`"),
        (save({"vectors": rows()[0]}, METADATA), "", "/vectors", "expected (count, width)"),
        (save({"vectors": rows()[None]}, METADATA), "", "/vectors", "expected (count, width)"),
        (save({"vectors": rows(), "bias": rows()}, METADATA), "", "/bias", "expected (count,)"),
        (save({"vectors": rows(), "w": rows()}, METADATA), "", "", "tensor 'w'"),
        (save({"vectors": rows().astype(np.int64)}, METADATA), "", "/vectors", "dtype I64"),
        (save({"vectors": rows(4097, 1)}, METADATA), "", "/vectors", "4097"),
        (save({"vectors": rows(1, 16385)}, METADATA), "", "/vectors", "16385"),
        (save({"vectors": rows(0)}, METADATA), "", "/vectors", "0 vectors"),
        (save({"vectors": rows() * np.nan}, METADATA), "", "/vectors/0/0", "nan"),
        (save({"vectors": rows() * np.inf}, METADATA), "", "/vectors/0/0", "inf"),
        (
            save({"vectors": rows(), "bias": np.float32([0, 1, np.inf])}, METADATA),
            "",
            "/bias/2",
            "inf",
        ),
        (save({"vectors": rows() * 0}, METADATA), "", "/vectors/0", "zero everywhere"),
        (with_metadata(layer=""), "", "/layer", "required"),
        (with_metadata(layer="two"), "", "/layer", "whole number"),
        (with_metadata(layer="-1"), "", "/layer", "whole number"),
        (with_metadata(labels="a, b, c"), "", "/labels", "JSON list"),
        (with_metadata(labels='{"a": 1}'), "", "/labels", "list"),
        (with_metadata(), "?layer=3", "/layer", "the file says"),
        (with_metadata(), "?site=mlp_in", "/site", "the file says"),
        (with_metadata(), "?layer=x", "/layer", "whole number"),
        (with_metadata(), "?layers=2", "/layers", "unknown"),
    ],
)
def test_a_file_that_is_no_set_is_refused_with_a_pointer(
    http: FlaskClient, content: bytes, query: str, pointer: str, said: str
) -> None:
    answer = http.post(f"/v1/vectors{query}", data=content, headers=BYTES)

    assert answer.status_code == 422, answer.get_json()
    assert pointer in pointers(answer), answer.get_json()
    assert said in json.dumps(answer.get_json()["errors"]), answer.get_json()


def test_other_bodies_are_refused(http: FlaskClient) -> None:
    content = with_metadata()
    packed_one = http.post(
        "/v1/vectors", data=content, headers=BYTES | {"Content-Encoding": "gzip"}
    )
    text = http.post("/v1/vectors", data=content, content_type="text/plain")
    huge = http.post("/v1/vectors", data=bytes((1 << 20) + 1), headers=BYTES)
    both = http.post("/v1/vectors?layer=2", json=body())

    found = [(a.status_code, a.get_json()["code"]) for a in (packed_one, text, huge, both)]
    unsupported = (415, "unsupported_media_type")
    assert found == [unsupported, unsupported, (413, "too_large"), (422, "invalid_request")]


def test_sets_are_listed_in_pages_newest_first(http: FlaskClient) -> None:
    names = [add(http, name=f"set-{i}", labels=["a", "b", "c"]) for i in range(3)]

    first = http.get("/v1/vectors?limit=2").get_json()
    last = http.get(f"/v1/vectors?limit=2&cursor={first['next_cursor']}").get_json()

    assert [v["id"] for v in first["data"] + last["data"]] == names[::-1]
    assert (last["next_cursor"], last["data"][0]["labels"]) == (None, None)


def test_a_set_is_gone_with_its_file_and_its_bytes(
    http: FlaskClient, board: Board, store: Store
) -> None:
    name = add(http)
    counted = board.accounts.stored_bytes("default")
    assert counted == store.size(Layout.vectors(name)) == record(board, name).size

    assert http.delete(f"/v1/vectors/{name}").status_code == 204

    assert http.get(f"/v1/vectors/{name}").status_code == 404
    assert http.delete(f"/v1/vectors/{name}").status_code == 404
    assert (store.names("vectors"), board.accounts.stored_bytes("default")) == ([], 0)


def test_a_set_beyond_the_tenants_quota_leaves_nothing(
    http: FlaskClient, board: Board, store: Store, key: str
) -> None:
    board.accounts.put_tenant(Tenant("default", stored_bytes=600))
    headers = {"Authorization": f"Bearer {key}"}

    small = http.post("/v1/vectors", json=body(vectors=rows(1).tolist()), headers=headers)
    large = http.post("/v1/vectors", json=body(vectors=rows(9).tolist()), headers=headers)

    assert (small.status_code, large.status_code) == (201, 429)
    assert large.get_json()["code"] == "quota_exceeded"
    assert store.names("vectors") == [small.get_json()["id"]]
    assert [v.id for v in board.registry.list_vectors()] == [small.get_json()["id"]]


def test_a_job_over_a_set_has_its_site_its_layer_and_both_tails(
    http: FlaskClient, board: Board
) -> None:
    name = add(http)

    answers = [
        http.post("/v1/jobs", json=make_body(neurons={"vectors": name})),
        http.post("/v1/jobs", json=make_body(neurons={"vectors": name, "site": "vectors"})),
        http.post(
            "/v1/jobs",
            json=make_body(neurons={"vectors": name}, corpus={"texts": ["a b", "c d", "e f"]}),
        ),
    ]

    assert [a.status_code for a in answers] == [202, 202, 202], answers[0].get_json()
    for answer in answers:
        shown = answer.get_json()["request"]
        assert (shown["neurons"]["site"], shown["neurons"]["vectors"]) == ("vectors", name)
        assert (shown["neurons"]["layers"], shown["contexts"]["tails"]) == ([2], "both")
        assert shown["tokens"]["exclude_positions"] == 1
        found = board.jobs.get(answer.get_json()["id"])
        assert found is not None
        assert found.analysis.neurons.layers == (2,)
    assert http.get("/v1/jobs").get_json()["data"][0]["request"]["neurons"]["vectors"] == name


def test_the_first_position_counts_where_the_place_is_no_residual_stream(
    http: FlaskClient,
) -> None:
    name = add(http, site="mlp_in")

    answer = http.post("/v1/jobs", json=make_body(neurons={"vectors": name}))

    assert answer.get_json()["request"]["tokens"]["exclude_positions"] == 0


def test_a_plan_counts_a_sets_directions(http: FlaskClient) -> None:
    name = add(http)
    chosen = {"vectors": name, "indices": "0,2"}

    whole = http.post("/v1/jobs?dry_run=true", json=make_body(neurons={"vectors": name}))
    part = http.post("/v1/jobs?dry_run=true", json=make_body(neurons=chosen))

    assert [(a.get_json()["neurons"], a.get_json()["layers"]) for a in (whole, part)] == [
        (3, 1),
        (2, 1),
    ]
    assert whole.get_json()["basis"]["depth"] == 0.75


@pytest.mark.parametrize(
    ("neurons", "pointer", "code"),
    [
        ({"layers": [2]}, "/neurons/layers", "invalid_request"),
        ({"hook": "resid_post.2"}, "/neurons/hook", "invalid_request"),
        ({"site": "resid_post"}, "/neurons/site", "invalid_request"),
        ({"indices": [3]}, "/neurons/indices", "unknown_neuron"),
        ({"vectors": "vec_" + "0" * 24}, "/neurons/vectors", "vectors_not_found"),
        ({"vectors": "../x"}, "/neurons/vectors", "vectors_not_found"),
        ({"vectors": None, "site": "vectors"}, "/neurons/vectors", "invalid_request"),
    ],
)
def test_a_job_that_contradicts_its_set_is_refused(
    http: FlaskClient, neurons: dict[str, Any], pointer: str, code: str
) -> None:
    sent = {"vectors": add(http)} | neurons

    answer = http.post("/v1/jobs", json=make_body(neurons=sent))

    assert (answer.status_code, answer.get_json()["code"]) == (422, code), answer.get_json()
    assert pointers(answer) == [pointer]


def test_a_job_over_a_set_and_a_dictionary_is_refused(http: FlaskClient) -> None:
    neurons = {"vectors": add(http), "dictionary": ["one"]}

    answer = http.post("/v1/jobs", json=make_body(neurons=neurons))

    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
    assert pointers(answer) == ["/neurons/vectors"]


def test_a_set_of_another_model_is_refused(http: FlaskClient, board: Board) -> None:
    name = add(http)
    board.registry.put_card(make_card(id="unseen"))

    answer = http.post("/v1/jobs", json=make_body(model="unseen", neurons={"vectors": name}))

    assert (answer.status_code, pointers(answer)) == (422, ["/neurons/vectors"])
    assert f"of {MODEL}, not of unseen" in answer.get_json()["detail"]


def test_a_model_that_has_changed_since_is_refused(http: FlaskClient, board: Board) -> None:
    name = add(http)
    post = SiteCard("resid_post", 32, "blocks.{layer}.hook_resid_post", signed=True)
    board.registry.put_card(make_card(sites=(post,)))

    answer = http.post("/v1/jobs", json=make_body(neurons={"vectors": name}))

    assert (answer.status_code, pointers(answer)) == (422, ["/neurons/vectors"])


def test_a_batch_says_which_entry_has_no_set(http: FlaskClient) -> None:
    name = add(http)
    entries = [
        make_body(neurons={"vectors": name}),
        make_body(neurons={"vectors": "vec_" + "0" * 24}),
    ]

    refused = http.post("/v1/batches", json={"jobs": entries})
    taken = http.post("/v1/batches", json={"jobs": entries[:1] * 2})

    assert pointers(refused) == ["/jobs/1/neurons/vectors"]
    assert taken.status_code == 202
    assert http.delete(f"/v1/vectors/{name}").status_code == 409


def test_a_repeated_request_gets_its_job_though_the_set_is_gone(
    http: FlaskClient, board: Board
) -> None:
    name, headers = add(http), {"Idempotency-Key": "one"}
    sent = make_body(neurons={"vectors": name})
    first = http.post("/v1/jobs", json=sent, headers=headers).get_json()["id"]
    run_job(board, first)
    http.delete(f"/v1/vectors/{name}")

    again = http.post("/v1/jobs", json=sent, headers=headers)

    assert again.get_json()["id"] == first


def test_a_set_that_a_job_reads_stays_until_that_has_ended(http: FlaskClient, board: Board) -> None:
    name = add(http)
    job = http.post("/v1/jobs", json=make_body(neurons={"vectors": name})).get_json()["id"]

    refused = http.delete(f"/v1/vectors/{name}")
    run_job(board, job)

    assert (refused.status_code, refused.get_json()["code"]) == (409, "conflict")
    assert job in refused.get_json()["detail"]
    assert http.delete(f"/v1/vectors/{name}").status_code == 204


def test_a_set_whose_file_is_not_there_yet_is_asked_for_again(
    http: FlaskClient, store: Store
) -> None:
    name = add(http)
    store.delete(Layout.vector_set(name))

    answer = http.post("/v1/jobs", json=make_body(neurons={"vectors": name}))
    again = http.post("/v1/vectors", json=body())

    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")
    assert (again.status_code, store.exists(Layout.vectors(name))) == (200, True)


def test_tenants_have_sets_of_their_own(http: FlaskClient, board: Board, store: Store) -> None:
    headers = {
        tenant: {"Authorization": f"Bearer {board.accounts.create_key(tenant, ('admin',))[1]}"}
        for tenant in ("acme", "beta")
    }
    mine = http.post("/v1/vectors", json=body(), headers=headers["acme"]).get_json()["id"]

    seen = http.get(f"/v1/vectors/{mine}", headers=headers["beta"])
    used = http.post(
        "/v1/jobs",
        json=make_body(neurons={"vectors": mine}, corpus={"texts": ["a b"]}),
        headers=headers["beta"],
    )
    deleted = http.delete(f"/v1/vectors/{mine}", headers=headers["beta"])
    same = http.post("/v1/vectors", json=body(), headers=headers["beta"])

    assert (seen.status_code, deleted.status_code) == (404, 404)
    assert used.get_json()["code"] == "vectors_not_found"
    assert (same.status_code, same.get_json()["id"]) == (201, mine)
    assert store.names("vectors") == []
    assert store.names("tenants/acme/vectors") == store.names("tenants/beta/vectors") == [mine]
    http.delete(f"/v1/vectors/{mine}", headers=headers["beta"])
    assert http.get(f"/v1/vectors/{mine}", headers=headers["acme"]).status_code == 200
