"""Blocks that do not fit into memory, on a model that says so above a size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from polyseme.contract.files.store import Store
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.scan.out_of_memory import count_cut
from polyseme.workers.analysis.steps.analysis import Analysis, bands_file
from tests.factories import make_corpus, make_request, make_texts
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import plan_analysis


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("halving"))


@pytest.fixture(scope="module")
def whole(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return analyse(model, tmp_path_factory.mktemp("whole"))


@contextmanager
def memory_for(model: LoadedModel, tokens: int, *, layer: int = 1) -> Iterator[list[int]]:
    """The model runs out of memory in a layer with more tokens than these, as CUDA would.

    Gives the sizes it ran.
    """
    ran: list[int] = []

    def check(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        if (size := hidden.shape[0] * hidden.shape[1]) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        ran.append(size)

    handle = model.parts.blocks[layer].register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield ran
    finally:
        handle.remove()


def analyse(model: LoadedModel, folder: Path) -> Store:
    """The store with the files of a small analysis."""
    request = make_request(
        contexts={"window": 32, "top_k": 4, "tails": "both"}, senses={"enabled": False}
    )
    run_analysis(
        model, request, make_texts(60), folder, limits=Limits(block_tokens=512, shard_tokens=600)
    )
    return Store(str(folder))


def read_manifest(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read("manifest.json"))
    return found


def read_columns(store: Store) -> dict[str, np.ndarray]:
    """What every neuron's numbers are: none of them would survive a token that counts twice or
    never.
    """
    with store.open("neurons.parquet") as f:
        table = pq.read_table(
            f,
            columns=[
                "n_tokens",
                "density",
                "mean",
                "std",
                "skewness",
                "min",
                "max",
                "top_contexts",
            ],
        )
    return {name: np.array(table.column(name), dtype=np.float64) for name in table.column_names}


@pytest.mark.parametrize("layer", [0, 2])
def test_blocks_that_do_not_fit_are_cut_and_counted(
    model: LoadedModel, whole: Store, tmp_path: Path, layer: int
) -> None:
    with memory_for(model, 200, layer=layer) as ran:
        cut = analyse(model, tmp_path)

    assert 100 < max(ran) <= 200
    first, second = read_manifest(whole), read_manifest(cut)
    assert first.pop("blocks_in_parts") == 0
    assert second.pop("blocks_in_parts") > 2
    # What the files hold is compared below.
    for manifest in (first, second):
        del manifest["files"], manifest["seal"]
    assert first == second
    # The last bits may differ: a window runs beside fewer others.
    expected = read_columns(whole)
    for name, column in read_columns(cut).items():
        np.testing.assert_allclose(column, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_calibration_blocks_that_are_cut_are_counted_with_the_bands(
    model: LoadedModel, tmp_path: Path
) -> None:
    request, store = make_request(contexts={"window": 32}), Store(str(tmp_path))
    analysis = Analysis(
        request, make_corpus(), model.card, store, "work", "result", "lens", 256, 10**6
    )
    with memory_for(model, 200):
        plan_analysis(analysis, model, make_texts(500))

    parts = [
        f"work/calibration/{name}"
        for name in store.names("work/calibration")
        if name.startswith("peaks")
    ]
    assert len(parts) > 1
    assert count_cut(store, [bands_file(analysis)]) == count_cut(store, parts) > 1


def test_a_window_that_does_not_fit_alone_is_an_error(model: LoadedModel, tmp_path: Path) -> None:
    with memory_for(model, 8), pytest.raises(torch.OutOfMemoryError):
        analyse(model, tmp_path)
