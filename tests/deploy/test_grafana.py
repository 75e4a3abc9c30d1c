"""Every URL of the results' dashboard and of its page, asked for as Grafana's server does: with a
key, over HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from polyseme.contract.board.batches import NewJob
from polyseme.contract.board.board import Board
from polyseme.contract.files.results import NEURONS, SCALARS, SUMMARY
from polyseme.contract.files.store import Layout, Store
from polyseme.service.app import create_app
from polyseme.workers.analysis.reports.summary import summarise
from tests.deploy.conftest import DEPLOY
from tests.factories import (
    add_corpus,
    make_card,
    make_request,
    open_job,
    run_job,
    seal_result,
    write_result,
)
from tests.service.conftest import make_settings, serving
from tests.test_docs import section

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/results.json").read_text())
TYPES = {"number": (int, float), "string": (str, int), "timestamp": (str,)}


@dataclass(frozen=True)
class Query:
    name: str
    url: str
    root: str
    columns: Mapping[str, str | None]  # type by selector; None where none is said


def of_target(name: str, target: Mapping[str, Any]) -> Query:
    assert (target["type"], target["source"], target["parser"]) == ("json", "url", "backend")
    columns = {c["selector"]: c["type"] for c in target["columns"]}
    return Query(name, target["url"].removeprefix("${service}"), target["root_selector"], columns)


def of_dashboard() -> list[Query]:
    found = [of_target(p["title"], t) for p in DASHBOARD["panels"] for t in p["targets"]]
    variables = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    return found + [
        of_target(f"variable {v['name']}", v["query"]["infinityQuery"]) for v in variables
    ]


def of_page() -> list[Query]:
    table = section("docs/grafana.md", "Queries of your own")
    rows = re.findall(r"(?m)^\| ([^|]+) \| `(/[^`]+)` \| ([^|]+) \| ([^|]+) \|$", table)
    return [
        Query(
            f"page: {name}",
            url,
            "".join(re.findall("`(.+)`", root)),
            dict.fromkeys(re.findall(r"`([^`]+)`", columns)),
        )
        for name, url, root, columns in rows
    ]


@pytest.fixture(scope="module")
def site(
    redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, str]]:
    """A service with a batch and a finished job, asked with a key that only reads; and the job's
    id.
    """
    folder = tmp_path_factory.mktemp("grafana")
    board, settings = Board.connect(redis_server), make_settings(redis_server, folder)
    board._redis.flushall()
    job = fill(board, Store(settings.store))
    key = board.accounts.create_key("default", ("read",))[1]
    with serving(create_app(settings)) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client, job


def fill(board: Board, store: Store) -> str:
    board.registry.put_card(make_card())
    add_corpus(board, store)
    job = open_job(board).id
    write_result(store, job, senses=True)
    run_job(board, job)
    neurons = pq.read_table(store.local_path(f"{Layout.result(job)}/{NEURONS}"), schema=SCALARS)
    plan = {"tokens": 640, "counted_tokens": 640, "windows": 60, "documents": 30}
    store.write(f"{Layout.result(job)}/{SUMMARY}", json.dumps(summarise(neurons, plan)).encode())
    seal_result(store, job)
    board.batches.open([NewJob(0, make_request(), 0)], {}, atomic=True, full={})
    return job


def pick(value: Any, path: str) -> Any:
    """What a selector such as `counts.jobs` names; an error when it is not there.

    Null has nothing below it.
    """
    for part in path.split(".") if path else ():
        value = None if value is None else value[part]
    return value


@pytest.mark.parametrize("query", [*of_dashboard(), *of_page()], ids=lambda q: q.name)
def test_the_service_answers_and_every_column_is_there(
    query: Query, site: tuple[httpx.Client, str]
) -> None:
    client, job = site
    url = query.url.replace("${job}", job).replace("${layer}", "1").replace("${neuron}", "2")
    assert "$" not in url

    answer = client.get(url)

    assert answer.status_code == 200, answer.text
    found = pick(answer.json(), query.root)
    rows = found if isinstance(found, list) else [found]
    assert rows
    for selector, kind in query.columns.items():
        values = [pick(row, selector) for row in rows]
        assert kind is None or all(v is None or isinstance(v, TYPES[kind]) for v in values), (
            selector
        )


def test_the_page_and_the_dashboard_ask_for_the_same_paths() -> None:
    def paths(queries: list[Query]) -> set[tuple[str, str]]:
        return {(q.url.partition("?")[0], q.root) for q in queries}

    assert len(of_page()) == 7
    assert paths(of_dashboard()) - paths(of_page()) == {
        ("/v1/jobs/${job}/neurons/${layer}/${neuron}", "peak_tokens")
    }


def test_no_two_panels_overlap_and_all_use_the_chosen_source() -> None:
    cells = [
        (p["gridPos"]["x"] + dx, p["gridPos"]["y"] + dy)
        for p in DASHBOARD["panels"]
        for dx in range(p["gridPos"]["w"])
        for dy in range(p["gridPos"]["h"])
    ]

    assert len(set(cells)) == len(cells)
    assert {p["datasource"]["uid"] for p in DASHBOARD["panels"]} == {"${source}"}
    assert not any(
        word in Path(DEPLOY / "grafana/results.json").read_text() for word in ("psk_", "Bearer")
    )
