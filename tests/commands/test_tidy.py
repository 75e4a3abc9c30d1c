"""`polyseme tidy` on a real Redis and a folder: what belongs to somebody stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.own_store import open_store
from tests.client.standins import run_polyseme
from tests.factories import add_corpus, add_vectors, open_job, run_job, write_result

OLD = time.time() - 7200


def age(store: Store, path: str) -> None:
    here = Path(store.local_path(path))
    for file in here.rglob("*") if here.is_dir() else [here]:
        os.utime(file, (OLD, OLD))


@pytest.mark.parametrize("deletes", [False, True])
def test_only_what_nothing_speaks_of_is_listed_and_removed(
    tmp_path: Path, redis_url: str, board: Board, deletes: bool
) -> None:
    store = open_store(str(tmp_path / "store"), board.registry)
    done, running = open_job(board).id, open_job(board).id
    write_result(store, done)
    run_job(board, done)
    corpus = add_corpus(board, store)
    board.registry.add_corpus(corpus, "acme")
    store.write(Layout.documents(corpus.id, "acme"), b"the other tenant's")
    add_vectors(board, store)
    add_vectors(board, store, "acme")
    store.write(f"{Layout.work(running)}/plan.json", b"{}")
    store.write("lens/abc/mlp-000-10.npz", b"kept for later jobs")
    gone = "job_" + "0" * 28
    orphans = [
        Layout.result(gone),
        Layout.work(gone),
        Layout.corpus("forgotten"),
        Layout.corpus("forgotten", "acme"),
        Layout.vector_set("vec_" + "1" * 24),
        Layout.vector_set("vec_" + "1" * 24, "acme"),
        "lens/abc/half.npz.tmp",
    ]
    for path in orphans:
        store.write(path if "." in path else f"{path}/file", b"1234")
    store.write(f"{Layout.result(gone)}/half.tmp", b"56")
    age(store, ".")
    store.write(f"{Layout.corpus('new')}/documents.parquet", b"about to be registered")
    before = {p for p in Path(store.local_path(".")).rglob("*") if p.is_file()}

    options = ["--json", *(["--delete"] if deletes else [])]
    places = ["--redis-url", redis_url, "--store", store.url]
    done_tidy = run_polyseme(["tidy", *options, *places], tmp_path)

    found = [json.loads(line) for line in done_tidy.stdout.splitlines()]
    assert sorted(o["path"] for o in found) == sorted(orphans), done_tidy.stderr
    assert sum(o["bytes"] for o in found) == 4 * len(orphans) + 2
    after = {p for p in Path(store.local_path(".")).rglob("*") if p.is_file()}
    removed = {p.relative_to(store.local_path(".")).as_posix() for p in before - after}
    assert all(any(r.startswith(o) for o in orphans) for r in removed)
    assert len(removed) == (len(orphans) + 1 if deletes else 0)
    assert {o["deleted"] for o in found} == {deletes}
