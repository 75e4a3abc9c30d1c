"""SAELens 6 and newer: `cfg.json` with `metadata`, and `sae_weights.safetensors`; what older ones
wrote ends here, too.

Source of the numerics: SAELens 6.54.12, saes/{standard,gated,topk,jumprelu}_sae.py, transcoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.cfg import Cfg
from polyseme.workers.analysis.dictionaries.dictionary import (
    Decoder,
    Dictionary,
    Encoder,
    Notes,
    Place,
)
from polyseme.workers.analysis.dictionaries.gates import Gate, Gated, JumpRelu, Relu, TopK
from polyseme.workers.analysis.dictionaries.hook_names import parse_hook, parse_module
from polyseme.workers.analysis.dictionaries.input_norms import NORMS, InputNorm
from polyseme.workers.analysis.dictionaries.weight_files import Folder, Tensors

SETTINGS, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_TRANSCODERS = (
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
)
_ARCHITECTURES = ("standard", "gated", "topk", "jumprelu", *_TRANSCODERS)
_REFUSED = {
    "temporal": "its latents depend on the tokens before",
    "matching_pursuit": "its latents are found one after the other, not by one product",
    "abstopk": "its latents may be negative",
    "batchtopk": "it is saved as it is trained: save it with save_inference_model",
    "matryoshka_batchtopk": "it is saved as it is trained: save it with save_inference_model",
}
_REFUSED_NORMS = {
    "expected_average_only_in": "the mean length of the activations is not in the file: fold it "
    "in with fold_activation_norm_scaling_factor",
    "covariance_whitening": "the whitening is not in the file: fold it in with "
    "fold_activation_whitening",
}
# Of training: they change no number of what is saved.
_TRAINING = (
    "dtype",
    "device",
    "decoder_init_norm",
    "l1_coefficient",
    "l1_warm_up_steps",
    "lp_norm",
    "l0_coefficient",
    "l0_warm_up_steps",
    "aux_loss_coefficient",
    "use_sparse_activations",
    "pre_act_loss_coefficient",
    "jumprelu_init_threshold",
    "jumprelu_bandwidth",
    "jumprelu_sparsity_loss_mode",
    "jumprelu_tanh_scale",
    "jumprelu_ste_to_input",
    "topk_threshold_lr",
)
_TRAINED_WITH_K = ("topk", "batchtopk", "matryoshka_batchtopk")


@dataclass(frozen=True)
class Settings:
    """What decides how the tensors of a file are used."""

    architecture: str  # in _ARCHITECTURES
    width: int  # D
    latents: int  # M
    width_out: int  # E
    subtracts_bias: bool  # b_dec is taken off the input
    norm: InputNorm
    k: int | None  # of topk
    rescales: bool  # topk chooses among pre-activations times the decoder's norms
    source: Place
    target: Place
    notes: Notes


def read_saelens(folder: Folder) -> Dictionary:
    """Raises DictionaryLoadError."""
    return read_weights(read_settings(folder.json(SETTINGS)), folder.safetensors(WEIGHTS))


def read_settings(values: dict[str, Any]) -> Settings:
    """Of a `cfg.json`. Raises DictionaryLoadError."""
    cfg = Cfg(SETTINGS, values)
    metadata = Cfg(f"{SETTINGS}: metadata", cfg.table("metadata"))
    architecture = take_architecture(cfg)
    width = cfg.whole("d_in")
    latents = cfg.whole("d_sae")
    cfg.expect("reshape_activations", ("none", "hook_z"), "activations are reshaped otherwise")
    k = take_k(cfg, latents) if architecture == "topk" else None
    source, target = _read_places(metadata, architecture)
    expected = k or _read_trained_l0(cfg, metadata)
    found = Settings(
        architecture=architecture,
        width=width,
        latents=latents,
        width_out=cfg.whole("d_out") if architecture in _TRANSCODERS else width,
        subtracts_bias=cfg.flag("apply_b_dec_to_input", True),
        norm=take_norm(cfg),
        k=k,
        rescales=cfg.flag("rescale_acts_by_decoder_norm", False),
        source=source,
        target=target,
        notes=replace(take_notes(metadata), expected_l0=expected, most_active=k),
    )
    cfg.ignore(_TRAINING)
    cfg.refuse_rest()
    return check_settings(found)


def check_settings(found: Settings) -> Settings:
    """Raises DictionaryLoadError for what the architecture cannot have."""
    if found.architecture in _TRANSCODERS and found.subtracts_bias:
        raise DictionaryLoadError(
            f"{SETTINGS}: apply_b_dec_to_input is true: a {found.architecture} decodes to another "
            f"place than it reads"
        )
    if found.rescales and found.architecture != "topk":
        raise DictionaryLoadError(
            f"{SETTINGS}: rescale_acts_by_decoder_norm is true: read with topk only, not with "
            f"{found.architecture}"
        )
    return found


def take_architecture(cfg: Cfg, default: str = "standard") -> str:
    name = cfg.text("architecture", default)
    if name in _REFUSED:
        raise DictionaryLoadError(f"architecture {name} is not read: {_REFUSED[name]}")
    if name not in _ARCHITECTURES:
        raise DictionaryLoadError(
            f"architecture {name!r} is not known: these are {', '.join(_ARCHITECTURES)}"
        )
    return str(name)


def take_norm(cfg: Cfg) -> InputNorm:
    name = cfg.take("normalize_activations", "none")
    if name in _REFUSED_NORMS:
        raise DictionaryLoadError(f"normalize_activations {name}: {_REFUSED_NORMS[name]}")
    if name not in NORMS:
        raise cfg.wrong("normalize_activations", name, f"one of {', '.join(NORMS)}")
    return NORMS[name]


def take_k(cfg: Cfg, latents: int) -> int:
    k = cfg.whole("k")
    if k > latents:
        raise cfg.wrong("k", k, f"at most {latents}, the number of latents")
    return int(k)


def read_weights(settings: Settings, tensors: Tensors) -> Dictionary:
    """Raises DictionaryLoadError."""
    d, m, e = settings.width, settings.latents, settings.width_out
    tensors.refuse_factor()
    weight = tensors.take("W_enc", d, m).T
    decoding = tensors.take("W_dec", m, e)
    bias_out = tensors.take("b_dec", e)
    gate, bias = _read_gate(settings, tensors, m)
    skip = tensors.take("W_skip", e, d) if "skip" in settings.architecture else None
    tensors.refuse_rest()
    norms = decoding.norm(dim=1) if settings.rescales else None
    centre = bias_out if settings.subtracts_bias else None
    encoder = Encoder(weight, bias, gate, settings.norm, centre, norms)
    undone = NORMS["none"] if settings.architecture in _TRANSCODERS else settings.norm
    # A latent that decodes to nothing is never chosen before others, and stays 0.
    factor = None if norms is None else torch.where(norms > 0, 1 / norms, 0)
    decoder = Decoder(decoding, bias_out, undone, factor, skip)
    return Dictionary(settings.source, settings.target, encoder, decoder, settings.notes)


def _read_gate(settings: Settings, tensors: Tensors, m: int) -> tuple[Gate, Tensor | None]:
    """And the bias of the pre-activations."""
    if settings.architecture == "gated":
        gate, magnitude = tensors.take("b_gate", m), tensors.take("b_mag", m)
        tensors.ignore("b_enc")  # which older versions wrote too, and did not use
        return Gated(gate, magnitude, tensors.take("r_mag", m).exp()), None
    bias = tensors.take("b_enc", m)
    if settings.k is not None:
        return TopK(settings.k), bias
    if settings.architecture.startswith("jumprelu"):
        return JumpRelu(_take_threshold(tensors, m)), bias
    return Relu(), bias


def _take_threshold(tensors: Tensors, m: int) -> Tensor:
    if "log_threshold" in tensors:  # as SAELens 4 and 5 trained it
        return tensors.take("log_threshold", m).exp()
    return tensors.take("threshold", m)


def _read_places(metadata: Cfg, architecture: str) -> tuple[Place, Place]:
    for name in ("hook_head_index", "hook_head_index_out"):
        metadata.expect(name, (None,), "dictionaries of one attention head are not read")
    source = _read_place(metadata, "")
    target = _read_place(metadata, "_out") if architecture in _TRANSCODERS else source
    return source, target


def _read_place(metadata: Cfg, suffix: str) -> Place:
    """By transformers' name where there is one, which says on which side of a norm it stands."""
    name = metadata.text(f"hook_name{suffix}")
    module = metadata.text(f"hf_hook_name{suffix}", None)
    if module is not None and name.endswith("hook_mlp_in"):
        return parse_module(module)
    return parse_hook(name)


def _read_trained_l0(cfg: Cfg, metadata: Cfg) -> float | None:
    """What it was trained to have, where the files say so."""
    trained = Cfg(f"{SETTINGS}: metadata", metadata.table("training_architecture_details"))
    with_k = metadata.text("training_architecture", None) in _TRAINED_WITH_K
    value = trained.take("k" if with_k else "target_l0", None) or cfg.take("target_l0", None)
    if value is not None and not (isinstance(value, (int, float)) and value > 0):
        raise cfg.wrong("the trained L0", value, "a number above 0")
    return None if value is None else float(value)


def take_notes(cfg: Cfg) -> Notes:
    return Notes(
        model_name=cfg.text("model_name", None),
        neuronpedia=cfg.text("neuronpedia_id", None),
        prepend_bos=cfg.flag("prepend_bos", None),
        context_size=cfg.whole("context_size", None),
        from_pretrained_kwargs=cfg.table("model_from_pretrained_kwargs"),
    )
