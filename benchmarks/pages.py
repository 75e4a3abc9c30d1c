"""How soon the API answers lists of a result with very many neurons, alone and under polls.

A tiny model's job runs under `polyseme up`; then its result's place is taken by a large one that
`merge` has made, and the service is started again. What it costs to read, sort and write pages does
not depend on who wrote the files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.api import PAGE, answers_row, answers_table, link, shuffled
from benchmarks.generator import Load, put_load
from benchmarks.load import CORPUS, MODEL, corpus_lines, prepare_data, submit_body
from benchmarks.made_up import Sizes, make_job
from benchmarks.merge import merge_elsewhere
from benchmarks.stack import HOST, running_stack
from polyseme import Polyseme
from polyseme.contract.files.columns import LISTED
from polyseme.contract.files.results import NEURONS

_CONNECTIONS = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--result",
        type=Path,
        help="a result to read, as `merge --keep` leaves it; else one is made",
    )
    parser.add_argument("--neurons", type=int, default=460_000, help="of the result that is made")
    parser.add_argument("--layers", type=int, default=32, help="likewise")
    parser.add_argument("--reads", type=int, default=500, help="pages, one after another")
    parser.add_argument(
        "--polls", type=float, default=500.0, help="a second, together with the next"
    )
    parser.add_argument("--pages", type=float, default=100.0, help="a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of both")
    parser.add_argument("--folder", type=Path, help="for all files, instead of a temporary one")


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-", dir=options.folder) as name:
        result = options.result or _make_result(Path(name) / "made", options)
        data = prepare_data(Path(name) / "data")
        with _service(data) as port, Polyseme(f"http://{HOST}:{port}") as client:
            client.add_corpus(corpus_lines(60), name=CORPUS)
            job = client.wait(client.submit(submit_body())).id
        place = data / "store/results" / job
        shutil.rmtree(place)
        shutil.copytree(result, place, copy_function=link)
        neurons = pq.read_metadata(place / NEURONS).num_rows
        with _service(data) as port:
            rows = list(_measure(port, job, options))
    return "\n\n".join(
        [
            "## Pages",
            f"One gunicorn process as `polyseme up` starts it, all on this machine with the "
            f"load; a result of "
            f"{neurons:,} neurons. Pages have {PAGE} neurons and come one after another, but for "
            f"the last two rows, "
            "which are at once; these count from when they were due.",
            answers_table(rows),
        ]
    )


def _make_result(folder: Path, options: argparse.Namespace) -> Path:
    sizes = Sizes(options.layers, options.neurons // options.layers, contexts=40, tokens=40_000)
    make_job(folder, sizes)
    merge_elsewhere(folder, sizes, threads=0)
    return folder / "result"


@contextmanager
def _service(data: Path) -> Iterator[int]:
    """Gives its port."""
    with running_stack(
        data, MODEL, "--catalogue", str(data / "models.toml"), WEB_CONCURRENCY="1"
    ) as port:
        yield port


def _measure(port: int, job: str, options: argparse.Namespace) -> Iterator[list[str]]:
    paths = [
        f"/v1/jobs/{job}/neurons?limit={PAGE}&sort={way}{c}" for way in ("", "-") for c in LISTED
    ]
    first = Load(HOST, port, paths, len(paths))
    yield answers_row("a sort order's first page", put_load(first))
    yield answers_row(
        "any sort order", put_load(replace(first, paths=shuffled(paths), requests=options.reads))
    )
    polls = Load(
        HOST,
        port,
        [f"/v1/jobs/{job}"],
        int(options.polls * options.seconds),
        _CONNECTIONS,
        options.polls,
    )
    pages = Load(
        HOST,
        port,
        shuffled(paths),
        int(options.pages * options.seconds),
        _CONNECTIONS,
        options.pages,
    )
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(put_load, [polls, pages]))
    yield answers_row(f"polls, {options.polls:g}/s asked for", both[0])
    yield answers_row(f"meanwhile pages, {options.pages:g}/s asked for", both[1])
