from __future__ import annotations

import gzip
import io

import pytest
from flask.testing import FlaskClient

from polyseme.contract.files.documents import read_documents
from polyseme.contract.files.store import Layout, Store


def documents(store: Store, corpus: str) -> list[str]:
    return list(read_documents(io.BytesIO(store.read(Layout.documents(corpus)))))


def test_json_texts_become_a_corpus(http: FlaskClient, store: Store) -> None:
    answer = http.post(
        "/v1/corpora", json={"name": "greetings", "texts": ["good day", "good night", "good day"]}
    )

    found = answer.get_json()
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/corpora/greetings")
    assert (found["object"], found["documents"], found["duplicates_dropped"]) == ("corpus", 2, 1)
    assert documents(store, "greetings") == ["good day", "good night"]


@pytest.mark.parametrize(
    ("body", "headers", "query"),
    [
        (b"one\ntwo\n", {"Content-Type": "text/plain"}, ""),
        (b"one\n\ntwo\n", {"Content-Type": "text/plain; charset=utf-8"}, "?sample_by=paragraph"),
        (b'{"text": "one"}\n"two"\n', {"Content-Type": "application/x-ndjson"}, ""),
        (b'{"body": "one"}\n{"body": "two"}', {"Content-Type": "application/jsonl"}, "?field=body"),
        (
            gzip.compress(b"one\ntwo", mtime=0),
            {"Content-Type": "text/plain", "Content-Encoding": "gzip"},
            "",
        ),
        (
            gzip.compress(b'"one"\n"two"', mtime=0),
            {"Content-Type": "application/gzip"},
            "?format=jsonl",
        ),
    ],
)
def test_every_kind_of_upload_gives_the_same_corpus(
    http: FlaskClient, store: Store, body: bytes, headers: dict[str, str], query: str
) -> None:
    answer = http.post(f"/v1/corpora{query}", data=body, headers=headers)

    found = answer.get_json()
    assert answer.status_code == 201
    assert documents(store, found["id"]) == ["one", "two"]
    assert http.post("/v1/corpora", json={"texts": ["one", "two"]}).get_json()["id"] == found["id"]


def test_the_same_content_again_is_200(http: FlaskClient) -> None:
    first, second = (
        http.post("/v1/corpora?name=mine", data=b"a\nb", content_type="text/plain")
        for _ in range(2)
    )

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json() == second.get_json()


def test_corpora_are_listed_in_pages(http: FlaskClient) -> None:
    for i in range(4):
        http.post("/v1/corpora", json={"name": f"c{i}", "texts": [str(i)]})

    first = http.get("/v1/corpora?limit=3").get_json()
    rest = http.get(f"/v1/corpora?limit=3&cursor={first['next_cursor']}").get_json()

    assert [c["id"] for c in first["data"] + rest["data"]] == ["c3", "c2", "c1", "c0", "notes"]
    assert rest["next_cursor"] is None


def test_a_deleted_corpus_is_gone(http: FlaskClient, store: Store) -> None:
    assert http.delete("/v1/corpora/notes").status_code == 204
    assert http.get("/v1/corpora/notes").status_code == 404
    assert http.delete("/v1/corpora/notes").status_code == 404
    assert not store.exists(Layout.corpus("notes"))


def test_upload_parameters_do_not_go_with_json(http: FlaskClient) -> None:
    answer = http.post("/v1/corpora?sample_by=line", json={"texts": ["a"]})

    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/sample_by")
