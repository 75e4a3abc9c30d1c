"""Pickles of other projects, written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from polyseme.workers.analysis.dictionaries.pickled_layouts import LAYOUTS, Hints
from polyseme.workers.analysis.dictionaries.pickles import Conversion, convert_pickle
from tests.workers.analysis.dictionaries.builders import D, M, jumprelu_tensors, noise
from tests.workers.analysis.test_weights_security import torch_bomb

X = noise(64, D, seed=20, scale=2)
HOOK = "blocks.8.hook_resid_post"
AT = Hints(hook=HOOK)

Values = dict[str, Any]


def linear(bias_out: str, encoder: str = "encoder.bias") -> Values:
    return {
        "encoder.weight": noise(M, D, seed=1),
        encoder: noise(M, seed=2),
        "decoder.weight": noise(D, M, seed=3),
        bias_out: noise(D, seed=4),
    }


def plain() -> Values:
    return {name: value for name, value in jumprelu_tensors().items() if name != "threshold"}


def batch(values: Values) -> Values:
    return values | {"k": torch.tensor(3), "threshold": torch.tensor(0.7)}


def convert(folder: Path, values: Values, hints: Hints = AT, name: str = "ae.pt") -> Conversion:
    torch.save(values, folder / name)
    return convert_pickle(folder / name, folder / "out", hints)


def keep_top(pre: Tensor, k: int) -> Tensor:
    return pre.relu() * (pre >= pre.topk(k).values.amin(-1, keepdim=True))


def pre(values: Values, *, centred: bool, bias_out: str, encoder: str = "encoder.bias") -> Tensor:
    x = X.double() - (values[bias_out].double() if centred else 0)
    return x @ values["encoder.weight"].double().T + values[encoder].double()


def check(folder: Path, latents: Tensor, architecture: str) -> None:
    read = read_path(folder / "out")
    torch.testing.assert_close(read.encode(X).double(), latents, rtol=1e-5, atol=1e-5)
    assert (read.format, read.architecture) == ("saelens", architecture)


def test_an_autoencoder_takes_its_bias_off_and_a_newer_one_does_not(tmp_path: Path) -> None:
    old, new = linear("bias"), linear("decoder.bias")
    (tmp_path / "new").mkdir()

    made = convert(tmp_path, old)
    convert(tmp_path / "new", new)

    check(tmp_path, pre(old, centred=True, bias_out="bias").relu(), "standard")
    check(tmp_path / "new", pre(new, centred=False, bias_out="decoder.bias").relu(), "standard")
    assert made.layout == "dictionary_learning's AutoEncoder"
    assert made.found["encoder.weight"] == "20x6 float32"
    assert made.settings["metadata"]["hook_name"] == HOOK


def test_a_gated_one_has_two_biases(tmp_path: Path) -> None:
    gates = {name: noise(M, seed=n) for n, name in enumerate(("gate_bias", "mag_bias", "r_mag"), 5)}
    values = {k: v for k, v in linear("decoder_bias").items() if k != "encoder.bias"} | gates

    convert(tmp_path, values)

    x = X.double() - values["decoder_bias"].double()
    product = x @ values["encoder.weight"].double().T
    magnitude = product * values["r_mag"].double().exp() + values["mag_bias"].double()
    active = product + values["gate_bias"].double() > 0
    check(tmp_path, active * magnitude.relu(), "gated")


def test_a_jumprelu_takes_no_bias_off(tmp_path: Path) -> None:
    values = jumprelu_tensors()

    convert(tmp_path, values)

    t = {name: value.double() for name, value in values.items()}
    product = X.double() @ t["W_enc"] + t["b_enc"]
    check(tmp_path, product.relu() * (product > t["threshold"]), "jumprelu")


@pytest.mark.parametrize("told", ["by its settings", "by the operator"])
@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_a_top_k_and_a_batch_top_k_have_the_same_values(
    kind: str, told: str, tmp_path: Path
) -> None:
    values, hints = batch(linear("b_dec")), AT
    if told == "by the operator":
        hints = Hints(hook=HOOK, architecture=kind)
    else:
        name = {"topk": "AutoEncoderTopK", "batchtopk": "BatchTopKSAE"}[kind]
        (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": name}}))

    convert(tmp_path, values, hints)

    product = pre(values, centred=True, bias_out="b_dec")
    latents = keep_top(product, 3) if kind == "topk" else product.relu() * (product > 0.7)
    check(tmp_path, latents, "topk" if kind == "topk" else "jumprelu")
    assert read_path(tmp_path / "out").notes.expected_l0 == 3


def test_a_matryoshka_jumps_over_one_threshold(tmp_path: Path) -> None:
    values = batch(plain()) | {"group_sizes": torch.tensor([4, 16])}

    convert(tmp_path, values)

    t = {name: value.double() for name, value in values.items()}
    product = (X.double() - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    check(tmp_path, product.relu() * (product > 0.7), "jumprelu")


def test_openais_are_behind_a_layer_norm(tmp_path: Path) -> None:
    values = linear("pre_bias", "latent_bias") | {
        "stats_last_nonzero": torch.zeros(M, dtype=torch.int64),
        "activation": "TopK",
        "activation_state_dict": {"k": 3, "postact_fn": "ReLU"},
    }

    convert(tmp_path, values)

    x = X.double() - X.double().mean(-1, keepdim=True)
    x = x / (x.std(-1, keepdim=True) + 1e-5) - values["pre_bias"].double()
    product = x @ values["encoder.weight"].double().T + values["latent_bias"].double()
    check(tmp_path, keep_top(product, 3), "topk")


def test_qwen_scopes_say_layer_and_k_in_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "SAE-Res-Qwen3-1.7B-Base-W32K-L0_3"
    folder.mkdir()
    values = plain() | {"W_enc": noise(M, D, seed=1), "W_dec": noise(D, M, seed=3)}

    convert(folder, values, Hints(), "layer7.sae.pt")

    product = X.double() @ values["W_enc"].double().T + values["b_enc"].double()
    check(folder, keep_top(product, 3), "topk")
    assert read_path(folder / "out").hook == "blocks.7.hook_resid_post"


def test_goodfires_say_the_layer_in_their_name(tmp_path: Path) -> None:
    values = {
        "encoder_linear.weight": noise(M, D, seed=1),
        "encoder_linear.bias": noise(M, seed=2),
        "decoder_linear.weight": noise(D, M, seed=3),
        "decoder_linear.bias": noise(D, seed=4),
    }

    convert(tmp_path, values, Hints(), "Llama-3.1-8B-Instruct-SAE-l19.pth")

    product = X.double() @ values["encoder_linear.weight"].double().T
    check(tmp_path, (product + values["encoder_linear.bias"].double()).relu(), "standard")
    assert read_path(tmp_path / "out").layer == 19


def test_what_dictionary_learning_says_of_its_training_is_kept(tmp_path: Path) -> None:
    trainer = {
        "dict_class": "AutoEncoder",
        "lm_name": "EleutherAI/pythia-70m",
        "submodule_name": "resid_post_layer_3",
    }
    settings = {"trainer": trainer, "buffer": {"ctx_len": 128}}
    (tmp_path / "config.json").write_text(json.dumps(settings))

    convert(tmp_path, linear("bias"), Hints())

    read = read_path(tmp_path / "out")
    assert (read.hook, read.notes.context_size) == ("blocks.3.hook_resid_post", 128)
    assert read.notes.model_name == "EleutherAI/pythia-70m"


REFUSED: dict[str, tuple[Values, Hints, str]] = {
    "no hook": (linear("bias"), Hints(), "does not say what it reads: say --hook"),
    "wrong hook": (linear("bias"), Hints(hook="layer 8"), "hook 'layer 8' is no site"),
    "either": (batch(linear("b_dec")), AT, "may be of .*AutoEncoderTopK or .*BatchTopKSAE"),
    "no k": (plain(), AT, "does not say how many latents are active: say --k"),
    "another k": (
        batch(linear("b_dec")),
        Hints(hook=HOOK, k=4, architecture="topk"),
        "has k = 3, not 4",
    ),
    "unknown": ({"W_q": noise(D, M)}, AT, "holds W_q; known are dictionary_learning's AutoEnc"),
    "no tensor": (linear("bias") | {"bias": 3}, AT, "bias is no tensor of floating points"),
    "no matrix": (
        linear("bias") | {"encoder.weight": noise(M)},
        AT,
        r"encoder\.weight is of shape \(20,\); expected two dimensions",
    ),
    "other shape": (
        linear("bias") | {"encoder.bias": noise(M + 1)},
        AT,
        r"b_enc is of shape \(21,\); expected \(20,\)",
    ),
    "not finite": (
        linear("bias") | {"bias": torch.full((D,), torch.nan)},
        AT,
        "b_dec has numbers that are not finite",
    ),
    "inner activation": (
        linear("pre_bias", "latent_bias")
        | {"activation": "TopK", "activation_state_dict": {"k": 3, "postact_fn": "Identity"}},
        AT,
        "activation is 'TopK' with 'Identity'; read are ReLU, and TopK with ReLU",
    ),
    "thresholds": (
        batch(linear("b_dec")) | {"threshold": noise(M)},
        Hints(hook=HOOK, architecture="batchtopk"),
        "threshold is of shape",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_certain_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    values, hints, sentence = REFUSED[case]

    with pytest.raises(DictionaryLoadError, match=sentence):
        convert(tmp_path, values, hints)
    assert [file.name for file in tmp_path.iterdir()] == ["ae.pt"]


def test_a_class_that_the_settings_name_must_fit(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": "IdentityDict"}}))

    with pytest.raises(DictionaryLoadError, match="does not hold the values of a IdentityDict"):
        convert(tmp_path, linear("bias"))


def test_a_pickle_that_runs_is_not_opened(tmp_path: Path) -> None:
    mark = tmp_path / "made"
    (tmp_path / "ae.pt").write_bytes(torch_bomb(mark))

    with pytest.raises(DictionaryLoadError, match="is no pickle of tensors and plain values alone"):
        convert_pickle(tmp_path / "ae.pt", tmp_path / "out", AT)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is no pickle of tensors"), (b"hello", "is no pickle of tensors"), (None, "no file")],
)
def test_a_file_that_is_none_is_named(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ae.pt").write_bytes(content)

    with pytest.raises(DictionaryLoadError, match=sentence):
        convert_pickle(tmp_path / "ae.pt", tmp_path / "out", AT)


def test_a_list_of_tensors_is_told_what_is_known(tmp_path: Path) -> None:
    torch.save([noise(3)], tmp_path / "ae.pt")

    with pytest.raises(DictionaryLoadError, match="holds a list; known are the tensors by name"):
        convert_pickle(tmp_path / "ae.pt", tmp_path / "out", AT)


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    convert(tmp_path, linear("bias"))

    with pytest.raises(DictionaryLoadError, match="is there already"):
        convert_pickle(tmp_path / "ae.pt", tmp_path / "out", AT)


def test_each_layout_has_a_name_of_its_own() -> None:
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS) == 10
