"""What an analysis costs beside the model alone and beside other tools, on the same tokens of the
same model.

Each tool runs in an environment of its own, which is made from pinned packages if it is not there.
They take turns, only one at a time, round after round, each round in another order.
benchmarks/README.md says what each of them does.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import write_texts
from benchmarks.peers.environments import PACKAGES, prepare_environment, versions
from benchmarks.peers.protocol import FEW_LAYERS, Contender, Round, Task, running
from benchmarks.peers.report import Result, comparisons, costs
from polyseme.commands import samples
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.model_card import ModelCard
from polyseme.errors import CommandError
from polyseme.workers.analysis.models.load import describe_model
from polyseme.workers.analysis.models.locate import locate_model

PEERS = tuple(PACKAGES)
_WINDOW, _BATCH, _TOP_K = 128, 8, 20
_BLOCK = _WINDOW * _BATCH  # tokens of a forward pass; delphi drops a last one that is smaller
# Of what delphi holds at its end: a place of three int64 and a float32, as batches and joined. A
# seventh more to spare.
_DELPHI_BYTES = 70
_DASHBOARDS = 64  # of the first layer, whose neurons cost the least

_NAMES = {
    "body": "the body alone",
    "model": "`model(**inputs)`",
    "scan": "Polyseme: scan",
    "shard": "Polyseme: scan, partial written",
    "few": "Polyseme: scan of layers 0-3, no senses",
    "few, senses": "Polyseme: scan of layers 0-3",
    "transformer-lens": "TransformerLens: `run_with_cache`, topk",
    "delphi": "delphi: `LatentCache`",
    "sae-dashboard": "SAEDashboard: `SaeVisRunner`",
}
_OURS = ("scan", "shard", "few", "few, senses")
# Of each that runs all neurons, the way of ours that leaves at least as much.
_BESIDE = {"model": "scan", "transformer-lens": "scan", "delphi": "shard"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=int, default=4096, help=f"tokens to run, a multiple of {_BLOCK:,}"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="that count; one more comes first, to warm up"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="which tools to run"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each, which run one at a time")
    parser.add_argument(
        "--environments", type=Path, default=Path("polyseme-data/peers"), help="folder of theirs"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("polyseme-data/cache"), help="of converted models"
    )


def run(options: argparse.Namespace) -> str:
    if options.tokens < _BLOCK or options.tokens % _BLOCK:
        raise CommandError(
            f"--tokens {options.tokens}: a multiple of {_BLOCK:,} is needed", exit_code=2
        )
    pythons = {peer: prepare_environment(peer, options.environments) for peer in options.peers}
    entry = Entry(samples.MODEL_ID, "gguf", str(samples.find_model()))
    model, card = (
        Path(locate_model(entry, options.cache)).absolute(),
        describe_model(entry, options.cache),
    )
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        write_texts(folder / "texts.jsonl", options.tokens)
        task = _make_task(model, card, folder, options)
        contenders = _start(stack, task, pythons, options.threads)
        maxima = _warm_up(contenders, folder)
        rounds = _run_rounds(contenders, options.rounds)
        resettable = all(contender.resettable for contender in contenders)
        return report(task, rounds, maxima, resettable=resettable)


def _make_task(model: Path, card: ModelCard, folder: Path, options: argparse.Namespace) -> Task:
    return Task(
        model=str(model),
        texts=str(folder / "texts.jsonl"),
        ids=str(folder / "ids.npy"),
        folder=str(folder / "round"),
        tokens=options.tokens,
        window=_WINDOW,
        batch=_BATCH,
        top_k=_TOP_K,
        layers=tuple(range(card.layers)),
        neurons=card.neurons,
    )


# The contenders


def _start(
    stack: ExitStack, task: Task, pythons: Mapping[str, Path], threads: int
) -> list[Contender]:
    """One after another: ours writes the token ids that the others read."""
    here = Path(sys.executable)
    programs = [
        ("ours", here),
        ("plain_model", here),
        *((p.replace("-", "_"), pythons[p]) for p in pythons),
    ]
    contenders = []
    for module, python in programs:
        given = fit(module, task, _free_memory())
        contenders.append(
            stack.enter_context(running(python, f"benchmarks.peers.{module}", given, threads))
        )
    return contenders


def fit(module: str, task: Task, free: int) -> Task:
    """The task; delphi's with a few layers only, if `free` bytes of memory are too little for
    all.
    """
    if module == "delphi" and task.tokens * len(task.layers) * task.neurons * _DELPHI_BYTES > free:
        return replace(task, layers=FEW_LAYERS)
    if module == "sae_dashboard":
        return replace(task, layers=task.layers[:1], neurons=min(_DASHBOARDS, task.neurons))
    return task


def _free_memory() -> int:
    """Bytes."""
    found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text())
    assert found is not None
    return int(found[1]) * 1024


# The rounds


def _warm_up(contenders: Sequence[Contender], folder: Path) -> dict[str, np.ndarray]:
    """Runs each way once, and returns the largest activations that it found, (layers, neurons),
    where it finds any.
    """
    found = {}
    for contender in contenders:
        for way in contender.ways:
            file = folder / f"maxima-{way}.npy"
            _say(f"{way}, to warm up", contender.run(way, file))
            if file.exists():
                found[way] = np.load(file)
    return found


def _run_rounds(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Round]]:
    """The rounds of each way.

    They take turns, and each round begins with another, so that noise falls on all.
    """
    ways = [(way, contender) for contender in contenders for way in contender.ways]
    found: dict[str, list[Round]] = {way: [] for way, _ in ways}
    for number in range(rounds):
        for way, contender in in_turn(ways, number):
            found[way].append(contender.run(way))
            _say(f"{way}, round {number + 1} of {rounds}", found[way][-1])
    return found


def in_turn(these: Sequence[Any], number: int) -> list[Any]:
    """All of them, beginning with another one in each round."""
    first = number % len(these)
    return [*these[first:], *these[:first]]


def _say(what: str, done: Round) -> None:
    print(
        f"{what}: {done.seconds:.1f} s, load average {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
        flush=True,
    )


# The report


def report(
    task: Task,
    rounds: Mapping[str, list[Round]],
    maxima: Mapping[str, np.ndarray],
    *,
    resettable: bool,
) -> str:
    results = {
        way: Result(_NAMES[way], maxima[way].size if way in maxima else 0, rounds[way])
        for way in rounds
    }
    pairs = [(way, _beside(way, results)) for way in results if way in _BESIDE]
    sections = [
        "## Beside other tools",
        f"{samples.MODEL_ID}, float32 on the CPU, {len(task.layers)} layers of {task.neurons:,} "
        f"neurons; "
        f"{task.tokens:,} tokens in windows of {task.window}, {task.batch} at a time; top "
        f"{task.top_k}; "
        f"{len(rounds['body'])} rounds. "
        f"{' '.join(f'{peer}: {versions(peer)}.' for peer in PEERS if peer in rounds)}",
        costs(results, task.tokens),
        comparisons(results, pairs),
        _agreement(maxima),
    ]
    if not resettable:
        sections.append("Peaks are those since each one's start: they cannot be reset here.")
    return "\n\n".join(sections)


def _beside(way: str, results: Mapping[str, Result]) -> str:
    return "few" if results[way].neurons == results["few"].neurons else _BESIDE[way]


def _agreement(maxima: Mapping[str, np.ndarray]) -> str:
    """How far each one's largest activation of each neuron is from the scan's, which shows that all
    ran the same.
    """
    differences = {
        _NAMES[way]: np.abs(found - maxima["scan"][: found.shape[0], : found.shape[1]]).max()
        for way, found in maxima.items()
        if way not in _OURS
    }
    parts = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    return f"Largest difference of a neuron's largest activation from the scan's: {parts}."
