"""Does a neuron get the same score from another half of the corpus? Two halves share no document.

python -m benchmarks.senses.stability --out DIR --brown FOLDER --model FOLDER [--words N --top-k N
--sampled N] python -m benchmarks.senses.stability --score FIRST SECOND
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown import table
from benchmarks.senses.brown import read_documents
from benchmarks.senses.metrics import rank_correlation
from benchmarks.senses.passages import draw_passages, split_documents
from benchmarks.senses.scans import Scores, scan_passages
from polyseme.contract.records.request import Contexts

LAYERS = (12,)
WORDS = 38_500  # about 50,000 tokens
TOLD = ("monosemantic", "polysemantic")


def report(first: Scores, second: Scores) -> str:
    """By layer: rank correlations over the neurons that have a score in both halves."""
    header = [
        "",
        "neurons",
        "scored in both",
        "same status",
        "ρ effective senses",
        "ρ sense count",
        "same count",
    ]
    layers = sorted(set(first.layer.tolist()))
    return table(
        [*header, "ρ coverage, all"],
        [_row(f"layer {layer}", first, second, first.layer == layer) for layer in layers],
    )


def _row(name: str, first: Scores, second: Scores, here: np.ndarray) -> list[str]:
    both = here & np.isin(first.status, TOLD) & np.isin(second.status, TOLD)
    covered = here & ~np.isnan(first.coverage) & ~np.isnan(second.coverage)
    figures = [
        (first.status[here] == second.status[here]).mean(),
        rank_correlation(first.effective[both], second.effective[both]),
        rank_correlation(first.count[both], second.count[both]),
        (first.count[both] == second.count[both]).mean(),
        rank_correlation(first.coverage[covered], second.coverage[covered]),
    ]
    return [name, str(here.sum()), str(both.sum()), *(f"{f:.3f}" for f in figures)]


def analyse(
    folder: Path, model: Path, brown: Path, words: int, seed: int, contexts: Contexts
) -> tuple[Path, Path]:
    """Scans both halves, so many words of each, and gives the folders of the results."""
    halves = split_documents(list(read_documents(brown)), seed)
    passages = [draw_passages(half, words, seed) for half in halves]
    name = f"{words}-{contexts.top_k}-{contexts.sampled}-{seed}"
    found = [
        scan_passages(model, p, LAYERS, folder / f"{name}-{i}", contexts)
        for i, p in enumerate(passages)
    ]
    return found[0], found[1]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    first, second = options.score or analyse(
        options.out,
        options.model,
        options.brown,
        options.words,
        options.seed,
        Contexts(top_k=options.top_k, sampled=options.sampled),
    )
    print(f"{first}\n{second}\n\n{report(Scores.read(first), Scores.read(second))}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="for the results")
    parser.add_argument("--brown", type=Path, help="the corpus' folder")
    parser.add_argument("--model", type=Path, help="a folder with SmolLM2-135M as safetensors")
    parser.add_argument("--words", type=int, default=WORDS, help="of each half")
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    parser.add_argument("--top-k", type=int, default=Contexts.top_k)
    parser.add_argument("--sampled", type=int, default=Contexts.sampled)
    parser.add_argument(
        "--score", type=Path, nargs=2, help="two result folders; nothing is analysed"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
