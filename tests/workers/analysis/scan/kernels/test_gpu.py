"""The GPU's kernels without a GPU: the trial by Triton's interpreter, and whether they compile for
GPUs.

What they compute is in test_scan.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux; `make test` installs it there")

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.kernels import cpu, gpu, gpu_trial
from polyseme.workers.analysis.scan.kernels.by_device import choose_kernels
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes
from polyseme.workers.analysis.scan.statistics.histogram import Histogram
from tests.workers.analysis.builders import needs_triton, random_activations, random_blocks

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TAILS: dict[Tail, None] = {"positive": None, "negative": None}

# Of a plain dict, so that a kernel whose argument is not among them fails to compile.
COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from polyseme.workers.analysis.scan.kernels import triton_programs as g

TYPES = {
    **dict.fromkeys(("windows", "length", "neurons", "each", "tokens", "parts", "k", "shown",
        "bands", "sign"), "i32"),
    **dict.fromkeys(("numbers", "priorities", "lengths", "band_windows", "keys", "floor",
        "digits", "tops", "bottoms", "seeds"), "*i64"),
    **dict.fromkeys(("high", "low", "highest", "lowest", "extremes", "edges", "fires",
        "peak"), "*fp32"),
    **dict.fromkeys(("high_at", "low_at", "histogram", "nonfinite", "rows", "documents",
        "places"), "*i32"),
    **dict.fromkeys(("held_documents", "row", "position", "start"), "*i32"),
    "activations": "*bf16", "counted": "*u8", "sums": "*fp64", "weights": "*fp64",
    "display": "*fp16",
}
LISTS = {"NEURONS": 16, "WINDOWS": 256, "SLOTS": 32}
KERNELS = [
    (g.reduce, {"ROWS": 4, "NEURONS": 64}),
    (g.rescale, {"ROWS": 4, "NEURONS": 64}),
    (g.count, {"TOKENS": 128, "NEURONS": 16, "SHARED": True}),
    (g.count, {"TOKENS": 128, "NEURONS": 16, "SHARED": False}),
    (g.finish, {"ROWS": 64, "NEURONS": 32}),
    (g.offer, LISTS | {"KIND": g.BANDS, "COUNTS": True, "DISTINCT": True}),
    (g.offer, LISTS | {"KIND": g.TOP, "COUNTS": False, "DISTINCT": False}),
    (g.offer, LISTS | {"KIND": g.DRAWN, "COUNTS": False, "DISTINCT": True, "SLOTS": 128}),
]
for capability in (80, 90):
    for kernel, constants in KERNELS:
        signature = {
            name: "constexpr" if name in constants else TYPES[name] for name in kernel.arg_names
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        assert compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
print("compiled")
"""


def test_the_kernels_compile_for_gpus() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}

    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (0, "compiled\n"), done.stderr


@needs_triton
def test_a_gpu_whose_kernels_keep_what_plain_torch_keeps_has_them() -> None:
    gpu_trial.kernels_work.cache_clear()

    assert gpu_trial.kernels_work(DEVICE)


@needs_triton
@pytest.mark.parametrize("fault", ["wrong", "fails"])
def test_kernels_that_do_not_work_are_not_used(fault: str, monkeypatch: Any, caplog: Any) -> None:
    def broken(*arguments: Any, **others: Any) -> None:
        if fault == "fails":
            raise RuntimeError("no such instruction")

    monkeypatch.setattr(gpu, "offer_block", broken)
    gpu_trial.kernels_work.cache_clear()

    assert not gpu_trial.kernels_work(DEVICE)

    said = "positive/band_windows" if fault == "wrong" else "RuntimeError: no such instruction"
    assert said in caplog.text
    gpu_trial.kernels_work.cache_clear()


@needs_triton
@pytest.mark.parametrize("shared", [False, True])
def test_histograms_are_the_same_however_they_are_counted(shared: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(gpu, "_COUNTS_IN_SHARED_MEMORY", shared)
    (block,) = random_blocks(0, windows=12, rows=12, device=str(DEVICE))
    (activations,) = random_activations([block], 70, seed=0)
    expected = Histogram(70, DEVICE)
    expected.update(activations[block.counted])

    scan = LayerScan(70, {}, ListSizes(1, 0, 1, 1, True), DEVICE, kernels=gpu)
    scan.update(block, activations)

    assert torch.equal(scan.statistics.histogram.counts, expected.counts)


@needs_triton
def test_bfloat16_is_taken_as_it_is() -> None:
    (block,) = random_blocks(0, windows=12, rows=12, device=str(DEVICE))
    (activations,) = random_activations([block], 70, seed=0, step=None)
    values = activations.bfloat16()
    taken, widened = (
        LayerScan(70, TAILS, ListSizes(3, 0, 1, 4, True), DEVICE, kernels=gpu) for _ in range(2)
    )

    taken.update(block, values)
    widened.update(block, values.float())

    found, expected = taken.arrays(), widened.arrays()
    assert all(np.array_equal(found[name], expected[name], equal_nan=True) for name in expected)


def test_a_cpu_has_its_own_kernels() -> None:
    assert choose_kernels(torch.device("cpu")) is cpu


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_its_kernels() -> None:
    assert choose_kernels(torch.device("cuda")) is gpu
