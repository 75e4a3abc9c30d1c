"""What is said of control units, which mean nothing, and of a model's own, by the length of the
text.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.corpora import take_texts
from benchmarks.markdown import table
from benchmarks.senses.brown import Document, read_documents
from benchmarks.senses.passages import draw_passages
from benchmarks.senses.scans import UNITS, Scores, scan_texts
from polyseme.contract.files.column import STATUSES
from polyseme.contract.records.request import Contexts

TOKENS = (16_000, 32_000, 64_000, 128_000, 256_000)
LAYERS = (4, 12, 20)
WORDS_A_TOKEN = 0.77  # of the Brown corpus, punctuation included, in SmolLM2's tokens

_QUICK_TOKENS, _QUICK_UNITS = 4_000, 32
_MEDIANS = ("polysemanticity", "sense_count", "coverage")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--brown",
        type=Path,
        help="the corpus' folder; without it facts, the Bible and Python's reference",
    )
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, help="folders with safetensors"
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS, help="about so many")
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS)
    parser.add_argument("--units", type=int, default=UNITS, help="of a layer")
    parser.add_argument("--seed", type=int, default=0, help="of the passages")
    parser.add_argument("--quick", action="store_true", help="one layer, few tokens and units")


def run(options: argparse.Namespace) -> str:
    if options.quick:
        options.tokens, options.units = [_QUICK_TOKENS], _QUICK_UNITS
        options.layers = options.layers[:1]
    documents = list(read_documents(options.brown)) if options.brown else None
    rows: list[list[str]] = []
    for model in options.models:
        for tokens in options.tokens:
            folder = options.out / f"{model.name[:16]}-{tokens}-{options.units}-{options.seed}"
            texts = draw_texts(documents, tokens, options.seed)
            scan_texts(model, texts, options.layers, folder, Contexts(), options.units)
            told = f"{model.name[:16]}, {tokens:,} tokens"
            rows += report_rows(told, folder)
    return f"## Control units\n\n{_table(rows)}"


def draw_texts(documents: Sequence[Document] | None, tokens: int, seed: int) -> list[str]:
    """Of about so many tokens: random passages of the documents, or the benchmarks' other texts."""
    if documents is None:
        return take_texts(tokens)
    words = round(tokens * WORDS_A_TOKEN)
    return [p.text for p in draw_passages(documents, words, seed)]


def report_rows(name: str, result: Path) -> Iterator[list[str]]:
    for kind, controls in (("units", False), ("control units", True)):
        yield [f"{name}, {kind}", *row(Scores.read(result, controls=controls))]


def row(scores: Scores) -> list[str]:
    """The share of each status, of all units; and medians of those that have a score."""
    shares = [f"{(scores.status == status).mean():.3f}" for status in STATUSES]
    columns = [getattr(scores, name) for name in _MEDIANS]
    told = [column[~np.isnan(column)] for column in columns]
    medians = [f"{np.median(column):.2f}" if len(column) else "-" for column in told]
    return [str(len(scores.status)), *shares, *medians]


def _table(rows: Sequence[Sequence[str]]) -> str:
    statuses = [status.replace("_", " ") for status in STATUSES]
    medians = [f"median {name.replace('_', ' ')}" for name in _MEDIANS]
    return table(["", "units", *statuses, *medians], rows)
