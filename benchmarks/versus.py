"""The scan of two checkouts, block by block in turn: how many times as long one takes.

Both checkouts must be installed (`make install`). Each runs in a process of its own with its own
code, on the same blocks of the sample model; one waits while the other runs.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.markdown import quartiles, table

# Runs in either checkout: of the benchmark `speed` it takes what is there since long.
_SIDE = """
import argparse, sys, tempfile
from pathlib import Path
from benchmarks import speed
parser = argparse.ArgumentParser()
speed.add_options(parser)
options = parser.parse_args(sys.argv[1:])
speed.set_threads(options.threads)
model = speed.load_sample_model(options.cache)
request = speed.make_request(options, options.tokens)
texts = speed.take_texts(options.tokens)
with tempfile.TemporaryDirectory() as folder:
    analysis, plan = speed.plan_texts(model, request, texts, Path(folder))
    writing = speed.writing_vectors(analysis.store, "work/v.npz")
    with speed.keeping_freed_arrays(), writing as vectors:
        speed._warm_up(analysis, model, plan, vectors)
        scan = speed.ShardScan(analysis, model, plan, vectors)
        blocks = list(speed.planned_blocks(analysis, model, plan))
        print(len(blocks), flush=True)
        for line, block in zip(sys.stdin, blocks):
            print(speed.timed(model, scan.run, block), flush=True)
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="a checkout with its environment in .venv")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument("--tokens", type=int, default=65_000, help="tokens to run, 1,024 a block")


def run(options: argparse.Namespace) -> str:
    cache = Path("polyseme-data/cache").resolve()
    with ExitStack() as stack:
        sides = [
            stack.enter_context(_running_side(checkout.resolve(), cache, options.tokens))
            for checkout in (options.before, options.after)
        ]
        counts = [int(_read(side)) for side in sides]
        assert counts[0] == counts[1], f"blocks: {counts}"
        ratios = []
        for number in range(counts[0]):
            seconds = [0.0, 0.0]
            for which in (0, 1) if number % 2 else (1, 0):
                seconds[which] = _run_next(sides[which])
            ratios.append(seconds[1] / seconds[0])
            print(f"{number + 1}/{counts[0]}", end="\r", file=sys.stderr, flush=True)
    low, high = interval(ratios)
    lower, median, upper = quartiles(ratios)
    row = [str(len(ratios)), f"{_mean(ratios):.4f}", f"{low:.4f} to {high:.4f}"]
    row += [f"{median:.3f}", f"{lower:.3f} and {upper:.3f}"]
    header = ["after / before", "blocks", "mean", "90 % interval", "median", "quartiles"]
    return table(header, [["scan of a block", *row]])


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """90 % of the geometric mean, from the spread of the logarithms."""
    logs = [math.log(ratio) for ratio in ratios]
    middle, spread = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle - 1.645 * spread), math.exp(middle + 1.645 * spread)


def _mean(ratios: Sequence[float]) -> float:
    return statistics.geometric_mean(ratios)


@contextmanager
def _running_side(checkout: Path, cache: Path, tokens: int) -> Iterator[subprocess.Popen[str]]:
    command = [str(checkout / ".venv/bin/python"), "-c", _SIDE]
    command += ["--tokens", str(tokens), "--cache", str(cache)]
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=checkout, env=environ, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


def _run_next(side: subprocess.Popen[str]) -> float:
    assert side.stdin is not None
    side.stdin.write("next\n")
    side.stdin.flush()
    return float(_read(side))


def _read(side: subprocess.Popen[str]) -> str:
    assert side.stdout is not None
    if not (line := side.stdout.readline()):
        raise RuntimeError(f"a side ended with {side.wait()}; its last lines above say why")
    return line
