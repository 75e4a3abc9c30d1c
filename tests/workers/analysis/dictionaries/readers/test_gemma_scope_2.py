"""Gemma Scope 2: SAEs, transcoders with a skip, and encoders of cross-layer transcoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import (
    D,
    E,
    M,
    Tensors,
    gemma_scope_2_tensors,
    noise,
    write,
    write_gemma_scope_2,
)

X = noise(64, D, seed=20, scale=2)
MLP = "model.layers.3.pre_feedforward_layernorm.output"
MLP_OUT = "model.layers.3.post_feedforward_layernorm.output"
TRANSCODER = {"hf_hook_point_in": MLP, "hf_hook_point_out": MLP_OUT, "type": "transcoder"}


def reference(t: Tensors) -> torch.Tensor:
    wide = {name: value.double() for name, value in t.items()}
    pre = X.double() @ wide["w_enc"] + wide["b_enc"]
    return pre.relu() * (pre > wide["threshold"])


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("output", "resid_post"),
        ("self_attn.o_proj.input", "z"),
        ("post_feedforward_layernorm.output", "mlp_out"),
    ],
)
def test_an_sae_is_read_at_its_hook(hook: str, site: str, tmp_path: Path) -> None:
    name = f"model.layers.1.{hook}"
    cfg = {"hf_hook_point_in": name, "hf_hook_point_out": name}

    read = read_path(write_gemma_scope_2(tmp_path, gemma_scope_2_tensors(), **cfg))

    expected = reference(gemma_scope_2_tensors())
    torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
    assert (read.format, read.site, read.layer) == ("gemma-scope-2", site, 1)
    assert (read.target, read.notes.expected_l0) == (read.source, 7)


def test_a_transcoder_with_a_skip_decodes_to_the_mlps_output(tmp_path: Path) -> None:
    tensors = gemma_scope_2_tensors(E) | {"affine_skip_connection": noise(D, E, seed=9)}

    read = read_path(write_gemma_scope_2(tmp_path, tensors, **TRANSCODER, affine_connection=True))
    found = read.decode(read.encode(X), X)

    t = {name: value.double() for name, value in tensors.items()}
    skipped = X.double() @ t["affine_skip_connection"]
    expected = reference(tensors) @ t["w_dec"] + t["b_dec"] + skipped
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert read.target is not None
    assert (read.site, read.target.site, read.layer) == ("mlp_in", "mlp_out", 3)


def test_of_a_cross_layer_transcoder_one_layers_encoder_is_read(tmp_path: Path) -> None:
    cfg = {"architecture": "jump_relu", "hf_hook_point_in": MLP, "affine_connection": True}
    tensors = gemma_scope_2_tensors() | {"w_dec": noise(M, 4, D), "affine_skip_connection": X[:D]}
    file = "params_layer_2.safetensors"
    write(tmp_path, "config.json", cfg, file, tensors)

    read = read_path(tmp_path / file)

    expected = reference(gemma_scope_2_tensors())
    torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
    assert (read.hook, read.decoder, read.decoder_norm) == ("blocks.2.mlp.hook_in", None, None)
    with pytest.raises(DictionaryLoadError, match="it has no decoder"):
        read.decode(read.encode(X), X)
    with pytest.raises(DictionaryLoadError, match="of several layers: name one layer's file"):
        read_path(tmp_path)


@pytest.mark.parametrize(
    ("cfg", "sentence"),
    [
        ({"architecture": "topk"}, "architecture is 'topk': another architecture"),
        ({"hf_hook_point_in": "model.layers.1.mlp.output"}, "is no site: known are model.layers"),
        ({"width": 16}, "width is 16, but w_enc has 20 latents"),
        ({"affine_connection": True}, "has no affine_skip_connection"),
        ({"type": "crosscoder"}, "type is 'crosscoder'"),
        ({"l0": "small"}, "l0 is 'small'; expected a number above 0"),
        ({"normalize": True}, "normalize not known here"),
    ],
)
def test_what_is_not_known_is_refused(cfg: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_gemma_scope_2(tmp_path, gemma_scope_2_tensors(), **cfg))
