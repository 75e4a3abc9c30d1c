from __future__ import annotations

import gzip
import io
import json

import pytest
from flask.testing import FlaskClient

from polyseme.contract.files.documents import read_documents, read_languages
from polyseme.contract.files.store import Layout, Store

ANYTHING = {"Content-Type": "application/octet-stream"}


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
        (gzip.compress(b'{"text": "one"}\n"two"', mtime=0), ANYTHING, "?filename=c4.json.gz"),
        (b'[{"text": "one"}, "two"]', ANYTHING, ""),
        (b"id,body\n1,one\n2,two\n", {"Content-Type": "text/csv"}, "?field=body"),
        (b"body\none\ntwo\n", ANYTHING, "?field=body&filename=a.tsv"),
        ("one\ntwo".encode("utf-16"), {"Content-Type": "text/plain; charset=utf-16"}, ""),
        (b'"one"\n{"text": null}\n"two"\n', ANYTHING, "?on_bad_line=skip"),
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


def test_a_field_may_name_the_language_of_documents(http: FlaskClient, store: Store) -> None:
    lines = b'{"text": "eins", "lang": "de"}\n{"text": "one", "lang": "en"}\n{"text": "two"}\n'
    bare = http.post("/v1/corpora", data=lines, headers=ANYTHING).get_json()
    first = http.post("/v1/corpora?language_field=lang", data=lines, headers=ANYTHING)

    found = first.get_json()
    assert first.status_code == 201
    assert (found["languages"], bare["languages"]) == ({"de": 1, "en": 1}, {})
    assert found["id"] != bare["id"]
    assert http.get(f"/v1/corpora/{found['id']}").get_json()["languages"] == {"de": 1, "en": 1}
    file = io.BytesIO(store.read(Layout.documents(found["id"])))
    assert list(read_languages(file)) == ["de", "en", None]


def test_a_large_upload_keeps_its_languages_too(http: FlaskClient, store: Store) -> None:
    lines = [{"text": f"{i} " + "x" * 100, "lang": "de" if i % 3 else "en"} for i in range(900)]
    body = "\n".join(map(json.dumps, lines)).encode()

    found = http.post("/v1/corpora?language_field=lang", data=body, headers=ANYTHING).get_json()

    assert found["languages"] == {"de": 600, "en": 300}


def test_plain_text_names_no_language(http: FlaskClient) -> None:
    answer = http.post("/v1/corpora?language_field=lang", data=b"a\n", content_type="text/plain")

    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_corpus")
    assert answer.get_json()["errors"][0]["pointer"] == "/language_field"
    assert "plain text has no fields" in answer.get_json()["detail"]


def test_what_is_skipped_and_left_out_is_said_in_the_answer(http: FlaskClient) -> None:
    lines = b'"one"\n{"text": null}\n7\n"two"\n'
    first = http.post("/v1/corpora?on_bad_line=skip", data=lines, headers=ANYTHING).get_json()
    packed = gzip.compress(b'"one"\n"two"\n', mtime=0) + b"\r\n"
    second = http.post("/v1/corpora", data=packed, headers=ANYTHING).get_json()
    kept = http.get(f"/v1/corpora/{first['id']}").get_json()

    assert (first["bad_lines_skipped"], first["warnings"]) == (2, [])
    assert second["id"] == first["id"]
    assert second["bad_lines_skipped"] == 0
    assert second["warnings"] == ["2 bytes behind the gzip data are no gzip and were left out"]
    assert kept["bad_lines_skipped"] == 2
    assert "warnings" not in kept


@pytest.mark.parametrize(
    ("body", "query", "status", "detail"),
    [
        (b'"one"\n{"text": null, "id": 7}\n', "", 422, "line 2: the field 'text' is null"),
        (b"text,label\none,1\n", "?filename=a.csv", 422, "its fields are text, label"),
        (b"%PDF-1.7 \xe2\xe3", "?filename=a.txt", 415, "the content is a PDF"),
        (b'{"text": "one"}\n', "?format=text", 422, "plain text, but the content is JSON lines"),
        (b"plain\n", "?filename=a.xyz", 415, "a.xyz: what is inside could be plain text"),
    ],
)
def test_a_file_that_is_not_taken_says_what_it_is(
    body: bytes, query: str, status: int, detail: str, http: FlaskClient
) -> None:
    answer = http.post(f"/v1/corpora{query}", data=body, headers=ANYTHING)

    assert answer.status_code == status
    assert detail in answer.get_json()["detail"]
    assert http.get("/v1/corpora").get_json()["data"][0]["id"] == "notes"
