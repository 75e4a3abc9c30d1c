"""What comes after the scan, for as many neurons as a large model has: its time, and the peak
memory of a process.

The job is made up (`made_up.py`), with the partials, windows and vectors of all its shards. A fresh
process then does the rest of it: what is usual in the corpus, each layer's merge, the closing. Its
peak resident set is what the kernel says (VmHWM) at its end.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest.mock import patch

from benchmarks.made_up import Sizes, make_analysis, make_job, make_model
from benchmarks.markdown import table
from polyseme.workers.analysis.corpus.plan import read_plan
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.steps import merging
from polyseme.workers.analysis.steps.closing import close_analysis
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.projecting import measure_background, project_shard


@dataclass
class Measured:
    """Of the process that merged."""

    before: int  # bytes of its peak resident set before it began
    shards: int
    tokens: int
    background_s: float = 0.0  # with the projection of all shards
    layers_s: list[float] = field(default_factory=list)
    layers_cpu_s: list[float] = field(default_factory=list)  # of all threads
    senses_s: float = 0.0  # of the layers', in finding senses and reading the vectors for it
    closing_s: float = 0.0
    peaks: list[int] = field(default_factory=list)  # bytes, after each layer and after closing


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--neurons", type=int, default=460_000, help="of all layers")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument(
        "--contexts",
        type=int,
        default=40,
        help="of a neuron, half of them a sample: a multiple of 10",
    )
    parser.add_argument("--tokens", type=int, default=60_000, help="of text; a shard has 32,768")
    parser.add_argument(
        "--threads", type=int, default=0, help="of torch and the kernels; 0 leaves torch's choice"
    )
    parser.add_argument(
        "--folder", type=Path, help="for the job's files, instead of a temporary one"
    )
    parser.add_argument("--keep", type=Path, help="a folder that is not there yet, for the result")


def run(options: argparse.Namespace) -> str:
    sizes = Sizes(
        options.layers, options.neurons // options.layers, options.contexts, options.tokens
    )
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-", dir=options.folder) as name:
        make_job(Path(name), sizes)
        measured = merge_elsewhere(Path(name), sizes, options.threads)
        if options.keep:
            shutil.copytree(Path(name) / "result", options.keep)
        size = sum(f.stat().st_size for f in (Path(name) / "result").rglob("*") if f.is_file())
    return _report(sizes, measured, size)


# The process that is measured


def merge_elsewhere(folder: Path, sizes: Sizes, threads: int) -> Measured:
    given = json.dumps({"folder": str(folder), "threads": threads, "sizes": asdict(sizes)})
    command = [sys.executable, "-m", "benchmarks.merge", given]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"the merge ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return Measured(**json.loads(ended.stdout))


def merge_all(folder: Path, sizes: Sizes) -> Measured:
    model = make_model(folder, sizes)
    analysis = make_analysis(folder, model, sizes)
    plan = read_plan(analysis.store, analysis.work)
    measured = Measured(_peak_resident(), len(plan.shards), plan.tokens)
    with _timing() as spent:
        measure_background(analysis, model)
        for shard in range(len(plan.shards)):
            project_shard(analysis, shard)
    measured.background_s = spent.wall_s
    with _timed_senses() as senses_s:
        for layer in analysis.layers:
            with _timing() as spent:
                merge_layer(analysis, model, layer)
            measured.layers_s.append(spent.wall_s)
            measured.layers_cpu_s.append(spent.cpu_s)
            measured.peaks.append(_peak_resident())
    measured.senses_s = sum(senses_s)
    with _timing() as spent:
        close_analysis(analysis, model)
    measured.closing_s = spent.wall_s
    measured.peaks.append(_peak_resident())
    return measured


@dataclass
class _Spent:
    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def _timing() -> Iterator[_Spent]:
    spent = _Spent()
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.wall_s, spent.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def _timed_senses() -> Iterator[list[float]]:
    """Gives the seconds of each layer's senses until the block ends."""
    seconds: list[float] = []
    find: Callable[..., object] = merging.find_layer_senses

    def timed(*arguments: object) -> object:
        with _timing() as spent:
            found = find(*arguments)
        seconds.append(spent.wall_s)
        return found

    with patch.object(merging, "find_layer_senses", timed):
        yield seconds


def _peak_resident() -> int:
    """Bytes."""
    found = re.search(
        r"(?m)^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="utf-8")
    )
    assert found
    return int(found[1]) * 1024


# The report


def _report(sizes: Sizes, measured: Measured, size: int) -> str:
    neurons = sizes.layers * sizes.neurons
    layers_s = sum(measured.layers_s)
    total_s = measured.background_s + layers_s + measured.closing_s
    rows = [
        _row("what is usual in the corpus, vectors projected", measured.background_s, neurons),
        _row("the layers", layers_s, neurons),
        _row("of them, senses", measured.senses_s, neurons),
        _row("closing", measured.closing_s, neurons),
        _row("together", total_s, neurons),
    ]
    first, last = measured.peaks[0], measured.peaks[-2]
    return "\n\n".join(
        [
            "## Merge",
            f"{neurons:,} made-up neurons in {sizes.layers} layers, {sizes.contexts} contexts "
            f"each; "
            f"{measured.tokens:,} tokens in {measured.shards} shards; results of "
            f"{size / 2**20:,.0f} MiB.",
            table(["", "seconds", "µs a neuron"], rows),
            f"The layers took {sum(measured.layers_cpu_s):.1f} s of all cores' time, "
            f"{sum(measured.layers_cpu_s) / neurons * 1e6:.0f} µs a neuron. Peak memory: "
            f"{measured.before / 2**20:,.0f} MiB before the first layer, {first / 2**20:,.0f} "
            f"after it, "
            f"{last / 2**20:,.0f} after the last and {measured.peaks[-1] / 2**20:,.0f} after "
            f"closing.",
        ]
    )


def _row(name: str, seconds: float, neurons: int) -> list[str]:
    return [name, f"{seconds:.1f}", f"{seconds / neurons * 1e6:.0f}"]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    set_threads(given["threads"])
    json.dump(asdict(merge_all(Path(given["folder"]), Sizes(**given["sizes"]))), sys.stdout)
