"""How long a bundle for Neuronpedia takes, of a finished job in a data folder."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.markdown import table
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Store
from polyseme.contract.records.selection import resolve_layers
from polyseme.service.results.neuronpedia.bundle import stream_bundle
from polyseme.service.results.neuronpedia.origin import Origin
from polyseme.service.results.result import Results


@dataclass(frozen=True)
class Timed:
    bytes: int
    wall_s: float
    process_s: float


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path("polyseme-data"), help="the folder of `polyseme up`"
    )
    parser.add_argument("--job", required=True, help="a finished job")
    parser.add_argument("--layers", default="all", help="such as 0-3")


def run(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as cache:
        results = Results(Store(str(options.data / "store")), cache)
        origin, present = read_origin(results, options.job)
        wanted = resolve_layers(options.layers, max(present) + 1, origin.model)
        layers = [layer for layer in present if layer in wanted]
        found = time_bundle(results, origin, layers)
    row = (
        f"{len(layers) * origin.neurons:,}",
        f"{found.bytes / 1e6:.0f}",
        f"{found.wall_s:.1f}",
        f"{found.process_s:.1f}",
    )
    return table(
        ("bundle", "neurons", "MB", "seconds", "of them this process ran"), [("neuronpedia", *row)]
    )


def read_origin(results: Results, job: str) -> tuple[Origin, list[int]]:
    """What the API takes from the job's record, from its manifest instead; and the layers of the
    result.
    """
    manifest = json.loads(results.read(job, MANIFEST))
    layers = results.layers(job)
    origin = Origin(
        job=job,
        model=manifest["model"]["id"],
        creator="polyseme",
        created_at=time.time(),
        corpus=manifest["corpus"]["id"],
        window=manifest["request"]["contexts"]["window"],
        layers=len(layers),
        neurons=len(results.scalars(job).table) // len(layers),
    )
    return origin, layers


def time_bundle(results: Results, origin: Origin, layers: list[int]) -> Timed:
    wall, process = time.perf_counter(), time.process_time()
    size = sum(map(len, stream_bundle(results, origin, layers)))
    return Timed(size, time.perf_counter() - wall, time.process_time() - process)
