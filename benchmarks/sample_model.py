"""The sample model, for benchmarks that run it in their own process."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from polyseme.commands import samples
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.load import LoadedModel, load_model

_BLOCKS, _ROWS, _WINDOW = 4, 8, 128


def add_model_options(parser: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """dtype: whether that is for the caller of the benchmark to say."""
    parser.add_argument(
        "--threads", type=int, default=0, help="of torch and the kernels; 0 leaves torch's choice"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:N")
    if dtype:
        parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
        parser.add_argument(
            "--compile", action="store_true", help="the model's layers with torch.compile"
        )
    parser.add_argument(
        "--cache", type=Path, default=Path("polyseme-data/cache"), help="of converted models"
    )


def load_sample_model(
    cache: Path, *, device: str = "cpu", dtype: str = "float32", compiled: bool = False
) -> LoadedModel:
    entry = Entry(samples.MODEL_ID, "gguf", str(samples.find_model()))
    return load_model(entry, device=device, dtype=dtype, cache=cache, compiled=compiled)


def random_blocks(model: LoadedModel) -> Tensor:
    """Token ids for the bare body, whose time does not depend on which they are: (4, 8, 128), so
    4,096 tokens.
    """
    return torch.randint(model.card.vocabulary, (_BLOCKS, _ROWS, _WINDOW), device=model.device)
