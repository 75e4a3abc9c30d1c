"""Windows, blocks and activations for tests of the scan: small, random, and the same for the same
seed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from polyseme.workers.analysis.corpus.plan import Plan
from polyseme.workers.analysis.corpus.windows import Window, Windows, cut_text, pack, unpack
from polyseme.workers.analysis.models.capture import Tap, Taps
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.scan.kernels.interface import Kernels
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.sites import mlp
from polyseme.workers.analysis.sites.point import Point
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.planning import calibrate, plan_windows
from tests.tiny_models import LAYERS

# what `tokenize_letters` adds to a letter's code, so that ids below are free for special tokens
LETTERS = 1000
ALPHABET = "abcdefghijklmnopqrstuvwxyz" * 100  # what every document says


needs_triton = pytest.mark.skipif(
    not (
        find_spec("triton")
        and (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1")
    ),
    reason="needs Triton, which is made for Linux, and a GPU or its interpreter",
)
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))),
    reason="torch.compile needs a C++ compiler on a CPU",
)


def kernels_named(name: str) -> Kernels:
    """reference, cpu or gpu."""
    return cast(Kernels, import_module(f"polyseme.workers.analysis.scan.kernels.{name}"))


def points_of(model: LoadedModel, layers: Iterable[int]) -> dict[int, Point]:
    """Where the MLP neurons of some layers are read."""
    return mlp.SITE.points(model.parts, layers)


def tap_inputs(
    model: LoadedModel,
    receive: Callable[[int, Tensor], None],
    layers: Iterable[int] = range(LAYERS),
    residual: Callable[[int, Tensor], None] | None = None,
) -> Taps:
    """Hands on what MLP neurons' control units are computed from, and maybe what enters the
    reference layers.
    """
    return Taps(residual, Tap(mlp.SITE.control_points(model.parts, layers), receive))


def make_window(
    number: int,
    ids: Sequence[int],
    *,
    documents: int | Sequence[int] = 0,
    counted: Sequence[bool] | None = None,
    starts: Sequence[int] | None = None,
) -> Window:
    """A window whose tokens are a character each unless `starts` says otherwise."""
    size = len(ids)
    of = np.array([documents] * size if isinstance(documents, int) else documents, np.int32)
    first = np.arange(size, dtype=np.int32) if starts is None else np.array(starts, np.int32)
    return Window(
        number=number,
        ids=np.array(ids, np.int32),
        documents=of,
        starts=first,
        ends=first + 1,
        counted=np.ones(size, bool) if counted is None else np.array(counted, bool),
        text=cut_text(of, first, first + 1, dict.fromkeys(of.tolist(), ALPHABET)),
    )


def make_windows(windows: Sequence[Window]) -> Windows:
    return unpack(pack(windows))


def random_window(rng: np.random.Generator, number: int, *, longest: int = 12) -> Window:
    """One to three documents in a row, a fifth of the tokens uncounted but never all of them."""
    size = int(rng.integers(1, longest + 1))
    counted = rng.random(size) > 0.2
    counted[rng.integers(size)] = True
    documents = number // 3 + np.sort(rng.integers(0, 3, size))
    return make_window(
        number, rng.integers(0, 50, size).tolist(), documents=documents.tolist(), counted=counted
    )


def random_blocks(
    seed: int, *, windows: int = 120, rows: int = 7, device: str = "cpu"
) -> list[Block]:
    """Blocks of windows whose numbers are in no order."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(windows)
    made = [random_window(rng, int(n)) for n in numbers]
    return [Block(make_windows(made[i : i + rows]), i, 0, device) for i in range(0, windows, rows)]


def random_activations(
    blocks: Sequence[Block], neurons: int, *, seed: int, step: float | None = 0.5
) -> list[Tensor]:
    """(B, S, N) float32 a block, in steps so that most peaks are tied, with zeros of both signs;
    padding included.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for block in blocks:
        values = torch.randn(*block.ids.shape, neurons, generator=generator)
        found.append((torch.round(values / step) * step if step else values).to(block.ids.device))
    return found


def plan_analysis(analysis: Analysis, model: LoadedModel, texts: Iterable[str]) -> Plan:
    """All steps before the scan."""
    plan = plan_windows(analysis, model, texts)
    calibrate(analysis, model)
    return plan


def tokenize_letters(texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A tokenizer for which every character is a token."""
    return [
        (
            np.array([LETTERS + ord(c) for c in text], np.int32),
            np.arange(len(text), dtype=np.int32),
            np.arange(1, len(text) + 1, dtype=np.int32),
        )
        for text in texts
    ]
