"""circuit-tracer's cross-layer transcoders: the encoder of one layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import D, M, noise, write_clt

X = noise(64, D, seed=20, scale=2)


@pytest.mark.parametrize("threshold", [None, noise(M, seed=8).abs()])
def test_an_encoder_is_read_without_its_decoders(
    threshold: torch.Tensor | None, tmp_path: Path
) -> None:
    file = write_clt(tmp_path, threshold=threshold)
    (tmp_path / "W_dec_2.safetensors").write_bytes(b"never opened")

    read = read_path(file)

    weight, bias = noise(M, D, seed=1).double(), noise(M, seed=2).double()
    pre = X.double() @ weight.T + bias
    expected = pre.relu() if threshold is None else pre * (pre > threshold)
    torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
    assert (read.format, read.hook) == ("clt", "blocks.2.hook_resid_mid")
    assert (read.decoder, read.target, read.notes.model_name) == (None, None, "google/gemma-2-2b")


@pytest.mark.parametrize(
    ("cfg", "sentence"),
    [
        ({"feature_input_hook": "hook_mlp_in"}, "write hook_resid_mid or mlp.hook_in"),
        ({"model_kind": "transcoder_set"}, "model_kind is 'transcoder_set': another kind"),
        ({"scales": 2}, "scales not known here"),
    ],
)
def test_what_is_not_known_is_refused(cfg: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_clt(tmp_path, **cfg))


def test_a_threshold_below_0_would_let_negative_latents_through(tmp_path: Path) -> None:
    with pytest.raises(DictionaryLoadError, match="threshold_2 is below 0"):
        read_path(write_clt(tmp_path, threshold=torch.full((M,), -0.1)))


def test_settings_that_make_objects_are_no_settings(tmp_path: Path) -> None:
    file = write_clt(tmp_path)
    (tmp_path / "config.yaml").write_text(f"a: !!python/object/apply:os.mkdir [{tmp_path}/made]\n")

    with pytest.raises(DictionaryLoadError, match=r"config\.yaml is no YAML"):
        read_path(file)
    assert not (tmp_path / "made").exists()
