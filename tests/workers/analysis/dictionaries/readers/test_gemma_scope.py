"""Gemma Scope 1: what the folders' names say, and the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import (
    D,
    E,
    M,
    jumprelu_tensors,
    noise,
    write_gemma_scope,
)

X = noise(64, D, seed=20, scale=2)
RES = "gemma-scope-2b-pt-res/layer_20"


@pytest.mark.parametrize(
    ("folder", "site", "layer", "model", "l0"),
    [
        (f"{RES}/average_l0_71", "resid_post", 20, "gemma-2-2b", 71),
        ("gemma-scope-9b-it-res/layer_9/canonical", "resid_post", 9, "gemma-2-9b-it", None),
        ("gemma-scope-2b-pt-mlp/layer_3/average_l0_9", "mlp_out", 3, "gemma-2-2b", 9),
        ("gemma-scope-2b-pt-att/layer_3/average_l0_9", "z", 3, "gemma-2-2b", 9),
        (
            "models--google--gemma-scope-27b-pt-res/snapshots/0a/layer_10/average_l0_5",
            "resid_post",
            10,
            "gemma-2-27b",
            5,
        ),
    ],
)
def test_the_folders_say_what_is_read(
    folder: str, site: str, layer: int, model: str, l0: int | None, tmp_path: Path
) -> None:
    read = read_path(write_gemma_scope(tmp_path / folder))

    assert (read.format, read.site, read.layer) == ("gemma-scope-1", site, layer)
    assert (read.notes.model_name, read.notes.expected_l0) == (model, l0)


def test_latents_jump_and_no_bias_is_taken_off(tmp_path: Path) -> None:
    read = read_path(write_gemma_scope(tmp_path / RES))

    t = {name: value.double() for name, value in jumprelu_tensors().items()}
    pre = X.double() @ t["W_enc"] + t["b_enc"]
    latents = pre.relu() * (pre > t["threshold"])
    torch.testing.assert_close(read.encode(X).double(), latents, rtol=1e-5, atol=1e-5)
    decoded = read.decode(read.encode(X), X)
    expected = latents @ t["W_dec"] + t["b_dec"]
    torch.testing.assert_close(decoded.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_transcoder_reads_before_the_weight_of_a_norm(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2b-pt-transcoders/layer_4/average_l0_9"
    read = read_path(write_gemma_scope(folder, jumprelu_tensors(E)))
    weight = noise(D, seed=30, scale=0.1) + 1

    behind = read.with_norm_weight(weight)

    assert read.target is not None
    assert (read.hook, read.target.site) == ("blocks.4.ln2.hook_normalized", "mlp_out")
    assert (read.source.before_weight, behind.source.before_weight) == (True, False)
    torch.testing.assert_close(behind.encode(X * weight), read.encode(X), rtol=1e-5, atol=1e-5)
    with pytest.raises(DictionaryLoadError, match="weights that are 0"):
        read.with_norm_weight(torch.zeros(D))


def test_embeddings_were_read_before_they_are_scaled(tmp_path: Path) -> None:
    plain = read_path(write_gemma_scope(tmp_path / RES))
    read = read_path(write_gemma_scope(tmp_path / "gemma-scope-2b-pt-res/embedding/average_l0_6"))

    scaled = X * D**0.5
    latents = plain.encode(X)
    torch.testing.assert_close(read.encode(scaled), latents, rtol=1e-5, atol=1e-5)
    expected = plain.decode(latents, X) * D**0.5
    torch.testing.assert_close(read.decode(latents, scaled), expected, rtol=1e-5, atol=1e-5)
    assert (read.site, read.layer) == ("resid_pre", 0)


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("mine/layer_20", "does not say what it reads; expected google's own folders"),
        ("gemma-scope-2b-pt-res/width_16k", "does not say what it reads"),
        (f"{RES}/width_16k/average_l0_71", "W_enc has 20 latents, its folder's name says 16384"),
        ("gemma-scope-2b-pt-mlp/embedding/average_l0_6", "embedding of a release of mlp"),
    ],
)
def test_other_folders_are_refused(folder: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_gemma_scope(tmp_path / folder))


def test_a_pickle_among_the_arrays_is_never_opened(tmp_path: Path) -> None:
    folder = write_gemma_scope(tmp_path / RES)
    arrays = {name: value.numpy() for name, value in jumprelu_tensors().items()}
    np.savez(folder / "params.npz", **arrays | {"W_enc": np.array([object()])})

    with pytest.raises(DictionaryLoadError, match=r"cannot read params\.npz: Object arrays"):
        read_path(folder)


def test_a_width_is_a_power_of_two_as_its_name_rounds_it(tmp_path: Path) -> None:
    folder = tmp_path / RES / "width_1k"
    wide = {
        "W_enc": noise(D, 1024),
        "W_dec": noise(1024, D),
        "b_enc": noise(1024),
        "b_dec": noise(D),
        "threshold": noise(1024),
    }

    assert read_path(write_gemma_scope(folder, wide)).latents == 1024
    assert M != 1024
