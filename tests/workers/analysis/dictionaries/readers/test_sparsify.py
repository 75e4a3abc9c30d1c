"""sparsify: SAEs and transcoders, top-k and groupmax, and what the folder's name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import (
    D,
    M,
    noise,
    sparsify_tensors,
    write_sparsify,
)

X = noise(64, D, seed=20, scale=2)


@pytest.mark.parametrize("transcodes", [False, True])
@pytest.mark.parametrize("activation", ["topk", "groupmax"])
def test_latents_are_those_of_the_formula(
    activation: str, transcodes: bool, tmp_path: Path
) -> None:
    cfg = {"activation": activation, "transcode": transcodes}

    read = read_path(write_sparsify(tmp_path / "layers.5.mlp", **cfg))

    t = {name: value.double() for name, value in sparsify_tensors().items()}
    x = X.double() - (0 if transcodes else t["b_dec"])
    pre = (x @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    groups = pre.unflatten(-1, (4, -1))
    kept = pre.topk(4).values.amin(-1, keepdim=True)
    first = groups == groups.amax(-1, keepdim=True)
    expected = pre * (pre >= kept) if activation == "topk" else (groups * first).flatten(-2)
    torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
    assert read.notes.expected_l0 == 4


def test_a_skip_joins_what_is_decoded(tmp_path: Path) -> None:
    tensors = sparsify_tensors() | {"W_skip": noise(D, D, seed=9)}
    cfg = {"transcode": True, "skip_connection": True}

    read = read_path(write_sparsify(tmp_path / "layers.5.mlp", tensors, **cfg))
    latents = read.encode(X)

    t = {name: value.double() for name, value in tensors.items()}
    expected = latents.double() @ t["W_dec"] + t["b_dec"] + X.double() @ t["W_skip"].T
    torch.testing.assert_close(read.decode(latents, X).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("folder", "transcodes", "source", "target"),
    [
        ("layers.5", False, "blocks.5.hook_resid_post", "blocks.5.hook_resid_post"),
        ("h.5", False, "blocks.5.hook_resid_post", "blocks.5.hook_resid_post"),
        ("decoder.layers.5", True, "blocks.5.hook_resid_pre", "blocks.5.hook_resid_post"),
        ("layers.5.mlp", False, "blocks.5.mlp.hook_out", "blocks.5.mlp.hook_out"),
        ("layers.5.mlp", True, "blocks.5.mlp.hook_in", "blocks.5.mlp.hook_out"),
        ("layers.5.mlp/seed2", True, "blocks.5.mlp.hook_in", "blocks.5.mlp.hook_out"),
    ],
)
def test_a_module_is_read_at_its_output_or_transcoded(
    folder: str, transcodes: bool, source: str, target: str, tmp_path: Path
) -> None:
    read = read_path(write_sparsify(tmp_path / folder, transcode=transcodes))

    assert read.target is not None
    assert (read.hook, read.target.hook) == (source, target)


def test_no_number_of_latents_means_the_expansion_factor(tmp_path: Path) -> None:
    wide = {
        "encoder.weight": noise(3 * D, D),
        "encoder.bias": noise(3 * D),
        "W_dec": noise(3 * D, D),
        "b_dec": noise(D),
    }

    read = read_path(write_sparsify(tmp_path / "h.0", wide, num_latents=0, expansion_factor=3))

    assert read.latents == 3 * D != M


@pytest.mark.parametrize(
    ("folder", "cfg", "sentence"),
    [
        ("mine", {}, "folder 'mine' is to be named after what it reads"),
        ("layers.5.self_attn", {}, "'layers.5.self_attn' is to be named"),
        ("h.1", {"activation": "batchtopk"}, "activation is 'batchtopk'"),
        ("h.1", {"signed": True}, "signed is True: latents that may be negative"),
        ("h.1", {"k": 21}, "k is 21; expected at most 20"),
        ("h.1", {"k": 3, "activation": "groupmax"}, "k is 3; expected a divisor of 20"),
        ("h.1", {"num_latents": -1}, "num_latents is -1; expected a whole number from 0"),
        ("h.1", {"skip_connection": True}, "has no W_skip"),
        ("h.1", {"whitens": True}, "whitens not known here"),
    ],
)
def test_what_is_not_known_is_refused(
    folder: str, cfg: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_sparsify(tmp_path / folder, **cfg))
