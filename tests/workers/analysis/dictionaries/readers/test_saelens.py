"""SAELens' layout beside float64 references of each architecture, and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import (
    D,
    E,
    M,
    Tensors,
    gated_tensors,
    jumprelu_tensors,
    noise,
    saelens_tensors,
    write_saelens,
    write_saelens_5,
)

X = noise(64, D, seed=20, scale=2)

Reference = Callable[[Tensors, Tensor], Tensor]


def keep_top(pre: Tensor, k: int) -> Tensor:
    kept = torch.zeros_like(pre)
    index = pre.topk(k).indices
    return kept.scatter(-1, index, pre.gather(-1, index).relu())


def layer_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.std(-1, keepdim=True) + 1e-5)


def standard(t: Tensors, x: Tensor) -> Tensor:
    return ((x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()


def not_centred(t: Tensors, x: Tensor) -> Tensor:
    return (x @ t["W_enc"] + t["b_enc"]).relu()


def gated(t: Tensors, x: Tensor) -> Tensor:
    x = x - t["b_dec"]
    active = x @ t["W_enc"] + t["b_gate"] > 0
    return active * (x @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]).relu()


def topk(t: Tensors, x: Tensor) -> Tensor:
    return keep_top((x - t["b_dec"]) @ t["W_enc"] + t["b_enc"], 3)


def rescaled_topk(t: Tensors, x: Tensor) -> Tensor:
    pre = (x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    return keep_top(pre * t["W_dec"].norm(dim=1), 3)


def jumprelu(t: Tensors, x: Tensor) -> Tensor:
    pre = (x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    return pre.relu() * (pre > t["threshold"])


def normed(t: Tensors, x: Tensor) -> Tensor:
    return standard(t, layer_norm(x))


def lengthened(t: Tensors, x: Tensor) -> Tensor:
    return standard(t, x * D**0.5 / x.norm(dim=-1, keepdim=True))


CASES: dict[str, tuple[Tensors, dict[str, Any], Reference]] = {
    "standard": (saelens_tensors(), {}, standard),
    "without b_dec": (saelens_tensors(), {"apply_b_dec_to_input": False}, not_centred),
    "gated": (gated_tensors(), {"architecture": "gated"}, gated),
    "topk": (saelens_tensors(), {"architecture": "topk", "k": 3}, topk),
    "rescaled topk": (
        saelens_tensors(),
        {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True},
        rescaled_topk,
    ),
    "jumprelu": (jumprelu_tensors(), {"architecture": "jumprelu"}, jumprelu),
    "layer norm": (saelens_tensors(), {"normalize_activations": "layer_norm"}, normed),
    "rescaled": (saelens_tensors(), {"normalize_activations": "constant_norm_rescale"}, lengthened),
}


@pytest.mark.parametrize("case", CASES)
def test_latents_are_those_of_the_formula(case: str, tmp_path: Path) -> None:
    tensors, cfg, reference = CASES[case]

    read = read_path(write_saelens(tmp_path, tensors, **cfg))

    wide = {name: value.double() for name, value in tensors.items()}
    expected = reference(wide, X.double())
    torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
    assert (read.format, read.site, read.layer) == ("saelens", "resid_post", 1)


@pytest.mark.parametrize("kind", ["standard", "layer_norm", "constant_norm_rescale"])
def test_what_is_decoded_has_the_units_of_the_input(kind: str, tmp_path: Path) -> None:
    norm = "none" if kind == "standard" else kind
    tensors = saelens_tensors()
    read = read_path(write_saelens(tmp_path, tensors, normalize_activations=norm))
    latents = noise(64, M, seed=3).abs()

    found = read.decode(latents, X)

    expected = latents.double() @ tensors["W_dec"].double() + tensors["b_dec"].double()
    wide = X.double()
    if kind == "layer_norm":
        expected = expected * wide.std(-1, keepdim=True) + wide.mean(-1, keepdim=True)
    if kind == "constant_norm_rescale":
        expected = expected * wide.norm(dim=-1, keepdim=True) / D**0.5
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_rescaled_top_k_decodes_as_if_its_decoder_had_length_1(tmp_path: Path) -> None:
    tensors = saelens_tensors()
    cfg = {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True}
    read = read_path(write_saelens(tmp_path, tensors, **cfg))
    one = torch.zeros(1, M)
    one[0, 7] = 2.0

    found = read.decode(one, X[:1]) - tensors["b_dec"]

    assert float(found.norm()) == pytest.approx(2.0)
    assert read.decoder_norm is not None
    torch.testing.assert_close(read.decoder_norm, torch.ones(M))


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("jumps", [False, True])
def test_a_transcoder_decodes_to_its_target(skips: bool, jumps: bool, tmp_path: Path) -> None:
    tensors = jumprelu_tensors(E) if jumps else saelens_tensors(E)
    tensors |= {"W_skip": noise(E, D, seed=11)} if skips else {}
    name = ("jumprelu_" if jumps else "") + ("skip_" if skips else "") + "transcoder"
    hooks = {"hook_name": "blocks.3.mlp.hook_in", "hook_name_out": "blocks.3.hook_mlp_out"}
    cfg = {"architecture": name, "d_out": E, "apply_b_dec_to_input": False}

    read = read_path(write_saelens(tmp_path, tensors, metadata=hooks, **cfg))
    found = read.decode(read.encode(X), X)

    wide, x = {name: value.double() for name, value in tensors.items()}, X.double()
    pre = x @ wide["W_enc"] + wide["b_enc"]
    latents = pre.relu() * (pre > wide["threshold"]) if jumps else pre.relu()
    expected = latents @ wide["W_dec"] + wide["b_dec"]
    if skips:
        expected = expected + x @ wide["W_skip"].T
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert read.target is not None
    assert (read.site, read.target.site, read.layer) == ("mlp_in", "mlp_out", 3)


def test_weights_of_another_dtype_are_read_as_float32(tmp_path: Path) -> None:
    tensors = {name: value.bfloat16() for name, value in saelens_tensors().items()}

    read = read_path(write_saelens(tmp_path, tensors, dtype="bfloat16"))

    assert read.encode(X.bfloat16()).dtype == torch.float32
    assert torch.equal(read.encoder.weight.T, tensors["W_enc"].float())


def test_what_the_files_say_is_kept(tmp_path: Path) -> None:
    said = {
        "model_name": "gemma-2-2b",
        "neuronpedia_id": "gemma-2-2b/1-res",
        "prepend_bos": True,
        "context_size": 1024,
        "model_from_pretrained_kwargs": {"center_writing_weights": False},
        "training_architecture": "batchtopk",
        "training_architecture_details": {"k": 60.0, "aux_loss_coefficient": 1.0},
    }

    read = read_path(
        write_saelens(tmp_path, jumprelu_tensors(), metadata=said, architecture="jumprelu")
    )

    assert (read.notes.model_name, read.notes.neuronpedia) == ("gemma-2-2b", "gemma-2-2b/1-res")
    assert (read.notes.expected_l0, read.notes.context_size) == (60.0, 1024)
    assert read.notes.prepend_bos is True
    assert read.notes.from_pretrained_kwargs == {"center_writing_weights": False}


def test_what_gemma_scope_2_reads_is_told_by_transformers_name(tmp_path: Path) -> None:
    hooks = {
        "hook_name": "blocks.3.hook_mlp_in",
        "hf_hook_name": "model.layers.3.pre_feedforward_layernorm.output",
        "hook_name_out": "blocks.3.hook_mlp_out",
    }
    cfg = {"architecture": "transcoder", "d_out": E, "apply_b_dec_to_input": False}

    assert read_path(write_saelens(tmp_path, saelens_tensors(E), metadata=hooks, **cfg)).site == (
        "mlp_in"
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "temporal": ({"architecture": "temporal"}, "temporal is not read: its latents depend on"),
    "matching pursuit": ({"architecture": "matching_pursuit"}, "one after the other"),
    "signed": ({"architecture": "abstopk"}, "its latents may be negative"),
    "as it trains": ({"architecture": "batchtopk"}, "save it with save_inference_model"),
    "unknown": ({"architecture": "crosscoder"}, "'crosscoder' is not known: these are standard"),
    "unfolded mean": (
        {"normalize_activations": "expected_average_only_in"},
        "fold it in with fold_activation_norm_scaling_factor",
    ),
    "unfolded whitening": (
        {"normalize_activations": "covariance_whitening"},
        "fold it in with fold_activation_whitening",
    ),
    "unknown norm": (
        {"normalize_activations": "rms"},
        "is 'rms'; expected one of none, layer",
    ),
    "unknown name": ({"sparsifies_twice": True}, "cfg.json: sparsifies_twice not known here"),
    "other width": ({"d_in": D + 1}, r"W_enc is of shape \(6, 20\); expected \(7, 20\)"),
    "width of no kind": ({"d_in": "6"}, "d_in is '6'; expected a whole number from 1"),
    "flag of no kind": ({"apply_b_dec_to_input": 1}, "is 1; expected true or false"),
    "no k": ({"architecture": "topk"}, "cfg.json: it has no 'k'"),
    "k too large": ({"architecture": "topk", "k": 21}, "k is 21; expected at most 20"),
    "no threshold": ({"architecture": "jumprelu"}, "has no threshold; its tensors are"),
    "rescaled relu": ({"rescale_acts_by_decoder_norm": True}, "read with topk only"),
    "reshaped": ({"reshape_activations": "hook_q"}, "activations are reshaped otherwise"),
    "a head": ({"metadata": {"hook_head_index": 3}}, "of one attention head are not read"),
    "no site": ({"metadata": {"hook_name": "blocks.1.attn.hook_q"}}, "is no site: known are"),
    "two meanings": (
        {"metadata": {"hook_name": "blocks.1.hook_mlp_in"}},
        "write hook_resid_mid or",
    ),
    "no hook": ({"metadata": {"hook_name": None}}, "hook_name is None; expected a text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_is_refused_with_a_sentence(case: str, tmp_path: Path) -> None:
    cfg, sentence = REFUSED[case]

    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_saelens(tmp_path, saelens_tensors(), **cfg))


def test_a_transcoder_takes_no_bias_off_its_input(tmp_path: Path) -> None:
    hooks = {"hook_name": "blocks.3.mlp.hook_in", "hook_name_out": "blocks.3.hook_mlp_out"}
    cfg = {"architecture": "transcoder", "d_out": E}

    with pytest.raises(DictionaryLoadError, match="decodes to another place than it reads"):
        read_path(write_saelens(tmp_path, saelens_tensors(E), metadata=hooks, **cfg))


TENSORS: dict[str, tuple[Tensors, str]] = {
    "one more": ({"W_gate": noise(D, M)}, "tensors not known here: W_gate"),
    "not finite": ({"b_enc": torch.full((M,), torch.inf)}, "b_enc has numbers that are not finite"),
    "whole numbers": ({"b_enc": torch.ones(M, dtype=torch.int64)}, "b_enc is torch.int64, no"),
    "scaled": ({"scaling_factor": torch.full((M,), 1.5)}, "scaling_factor is not 1 everywhere"),
    "transposed": ({"W_enc": noise(M, D)}, r"W_enc is of shape \(20, 6\); expected \(6, 20\)"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_are_not_as_promised_are_named(case: str, tmp_path: Path) -> None:
    more, sentence = TENSORS[case]

    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(write_saelens(tmp_path, saelens_tensors() | more))


def test_factors_of_1_are_left_out(tmp_path: Path) -> None:
    tensors = saelens_tensors() | {"scaling_factor": torch.ones(M)}

    read = read_path(write_saelens(tmp_path, tensors))

    assert read.latents == M


class TestBefore6:
    def test_a_flat_file_is_read_with_its_defaults(self, tmp_path: Path) -> None:
        read = read_path(write_saelens_5(tmp_path, saelens_tensors()))

        wide = {name: value.double() for name, value in saelens_tensors().items()}
        expected = standard(wide, X.double())
        torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)
        assert (read.format, read.hook) == ("saelens-5", "blocks.1.hook_resid_post")
        assert (read.notes.model_name, read.notes.prepend_bos) == ("gpt2-small", True)

    def test_a_top_k_was_an_activation_function(self, tmp_path: Path) -> None:
        cfg = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}

        read = read_path(write_saelens_5(tmp_path, saelens_tensors(), **cfg))

        assert (read.architecture, read.notes.expected_l0) == ("topk", 3)
        assert int((read.encode(X) > 0).sum(1).max()) == 3

    def test_a_trained_threshold_was_a_logarithm(self, tmp_path: Path) -> None:
        tensors = jumprelu_tensors()
        tensors["log_threshold"] = tensors.pop("threshold").log()

        read = read_path(write_saelens_5(tmp_path, tensors, architecture="jumprelu"))

        wide = {name: value.double() for name, value in jumprelu_tensors().items()}
        expected = jumprelu(wide, X.double())
        torch.testing.assert_close(read.encode(X).double(), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("cfg", "sentence"),
        [
            ({"normalize_activations": True}, "expected_average_only_in: the mean length"),
            ({"activation_fn_str": "tanh-relu"}, "activation_fn is 'tanh-relu'"),
            ({"activation_fn_str": "topk"}, "it has no 'k'"),
            (
                {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3, "signed": True}},
                "signed is True: latents that may be negative",
            ),
            ({"finetuning_scaling_factor": True}, "rescaled latents are not read"),
            ({"hook_point_head_index": 0}, "one attention head"),
            ({"use_magic": 1}, "use_magic not known here"),
        ],
    )
    def test_what_is_not_known_is_refused(
        self, cfg: dict[str, Any], sentence: str, tmp_path: Path
    ) -> None:
        with pytest.raises(DictionaryLoadError, match=sentence):
            read_path(write_saelens_5(tmp_path, saelens_tensors(), **cfg))
