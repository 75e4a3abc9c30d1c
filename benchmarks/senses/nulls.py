"""A model whose weights are shuffled: whatever is said of its neurons is not what training put
there.

The entries of every matrix of every layer's attention and MLP are permuted, each matrix in itself;
embeddings and norms stay. So each weight keeps its size, each token its vector, and nothing learned
above the embeddings is left.

    python -m benchmarks.senses.nulls --out DIR --brown FOLDER --model FOLDER
    python -m benchmarks.senses.nulls --score RESULT_FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import table
from benchmarks.senses.brown import read_documents
from benchmarks.senses.passages import draw_passages
from benchmarks.senses.scans import Scores, scan_passages
from polyseme.contract.files.columns import STATUSES
from polyseme.contract.records.request import Contexts

LAYERS = (4, 12, 20)
WORDS = 31_000  # about 40,000 tokens


def shuffle_model(source: Path, target: Path, seed: int) -> None:
    """Writes a copy of a model's folder with every matrix of its layers shuffled."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    shuffle_matrices(model.model.layers, torch.Generator().manual_seed(seed))
    model.save_pretrained(target)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(target)


def shuffle_matrices(module: Any, generator: Any) -> None:
    """Permutes the entries of each two-dimensional parameter, in place."""
    import torch

    with torch.no_grad():
        for _, weight in sorted(module.named_parameters()):
            if weight.ndim == 2:
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order].view_as(weight))


def report(scores: Scores) -> str:
    """The share of each status, of all neurons of a layer."""
    header = [
        "",
        "neurons",
        *(s.replace("_", " ") for s in STATUSES),
        "coverage, mean",
        "coverage, 95th percentile",
    ]
    layers = sorted(set(scores.layer.tolist()))
    parts = [(f"layer {layer}", scores.layer == layer) for layer in layers]
    return table(
        header, [_row(name, scores, here) for name, here in [*parts, ("all", scores.layer >= 0)]]
    )


def _row(name: str, scores: Scores, here: np.ndarray) -> list[str]:
    shares = [f"{(scores.status[here] == status).mean():.3f}" for status in STATUSES]
    coverage = scores.coverage[here & ~np.isnan(scores.coverage)]
    spread = (
        [f"{coverage.mean():.2f}", f"{np.quantile(coverage, 0.95):.2f}"]
        if len(coverage)
        else ["-", "-"]
    )
    return [name, str(here.sum()), *shares, *spread]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    result = options.score or analyse(options.out, options.model, options.brown, options.seed)
    print(f"{result}\n\n{report(Scores.read(result))}")


def analyse(folder: Path, source: Path, brown: Path, seed: int) -> Path:
    """Shuffles the model, analyses it and gives the folder of the result."""
    if not (folder / "model").exists():
        shuffle_model(source, folder / "model", seed)
    passages = draw_passages(list(read_documents(brown)), WORDS, seed)
    return scan_passages(folder / "model", passages, LAYERS, folder / "result", Contexts())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="for the model and the result")
    parser.add_argument("--brown", type=Path, help="the corpus' folder")
    parser.add_argument("--model", type=Path, help="a folder with SmolLM2-135M as safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--score", type=Path, help="a result folder; nothing is shuffled or analysed"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
