"""Gemma Scope 2: `config.json` and `params.safetensors`, of a cross-layer transcoder
`params_layer_<layer>.safetensors`.

Source: SAELens 6.54.12, gemma_3_sae_huggingface_loader; circuit-tracer 0.5.0,
load_gemma_scope_2_transcoder and load_gemma_scope_2_clt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.cfg import Cfg
from polyseme.workers.analysis.dictionaries.dictionary import (
    Decoder,
    Dictionary,
    Encoder,
    Notes,
    Place,
)
from polyseme.workers.analysis.dictionaries.gates import JumpRelu
from polyseme.workers.analysis.dictionaries.hook_names import make_place, parse_module
from polyseme.workers.analysis.dictionaries.weight_files import Folder, Tensors

SETTINGS, WEIGHTS = "config.json", "params.safetensors"
LAYER_WEIGHTS = re.compile(r"params_layer_(\d+)\.safetensors")
_CONTEXT = 1024  # tokens; texts began with the token that begins one
_CLT_INPUT = "pre_feedforward_layernorm.output"


@dataclass(frozen=True)
class _Settings:
    source: Place
    target: Place
    has_skip: bool
    latents: int | None
    notes: Notes


def read_gemma_scope_2(folder: Folder) -> Dictionary:
    """Raises DictionaryLoadError."""
    cfg = Cfg(SETTINGS, folder.json(SETTINGS))
    source = parse_module(cfg.text("hf_hook_point_in"))
    settings = _read_settings(cfg, source, _read_target(cfg, source))
    tensors = folder.safetensors(WEIGHTS)
    encoder = _read_encoder(tensors, settings)
    decoding = tensors.take("w_dec", encoder.weight.shape[0], tensors.shape("w_dec")[-1])
    bias_out = tensors.take("b_dec", decoding.shape[1])
    skip = None
    if settings.has_skip:
        skip = tensors.take("affine_skip_connection", encoder.weight.shape[1], len(bias_out)).T
    tensors.refuse_rest()
    decoder = Decoder(decoding, bias_out, skip=skip)
    return Dictionary(settings.source, settings.target, encoder, decoder, settings.notes)


def read_gemma_scope_2_layer(folder: Folder, file: str) -> Dictionary:
    """The encoder of one layer of a cross-layer transcoder. Raises DictionaryLoadError."""
    found = LAYER_WEIGHTS.fullmatch(file)
    assert found is not None
    cfg = Cfg(SETTINGS, folder.json(SETTINGS))
    cfg.take("hf_hook_point_out", None)
    if not str(name := cfg.take("hf_hook_point_in")).rstrip("']").endswith(_CLT_INPUT):
        raise cfg.wrong("hf_hook_point_in", name, f"a name that ends in {_CLT_INPUT}")
    source = make_place("mlp_in", int(found[1]))
    settings = _read_settings(cfg, source, source)
    decoders = ("w_dec", "b_dec", "affine_skip_connection")
    tensors = folder.safetensors(file, leave=decoders)
    encoder = _read_encoder(tensors, settings)
    tensors.refuse_rest()
    return Dictionary(source, None, encoder, None, settings.notes)


def _read_settings(cfg: Cfg, source: Place, target: Place) -> _Settings:
    cfg.expect("architecture", ("jump_relu",), "another architecture")
    latents, l0 = cfg.whole("width", None), cfg.take("l0", None)
    if l0 is not None and not (isinstance(l0, (int, float)) and l0 > 0):
        raise cfg.wrong("l0", l0, "a number above 0")
    notes = Notes(
        cfg.text("model_name", None),
        None if l0 is None else float(l0),
        prepend_bos=True,
        context_size=_CONTEXT,
    )
    has_skip = cfg.flag("affine_connection", False)
    kinds = ("sae", "transcoder", "clt", "cross_layer_transcoder", None)
    cfg.expect("type", kinds, "crosscoders and others are not read")
    cfg.refuse_rest()
    return _Settings(source, target, has_skip, latents, notes)


def _read_target(cfg: Cfg, source: Place) -> Place:
    """An SAE's is its source, which its file may repeat or leave out."""
    name = cfg.text("hf_hook_point_out", None)
    return source if name is None else parse_module(name)


def _read_encoder(tensors: Tensors, settings: _Settings) -> Encoder:
    shape = tensors.shape("w_enc")
    if len(shape) != 2:
        raise DictionaryLoadError(f"w_enc is of shape {shape}; expected two dimensions")
    width, latents = shape
    if settings.latents not in (None, latents):
        raise DictionaryLoadError(
            f"{SETTINGS}: width is {settings.latents}, but w_enc has {latents} latents"
        )
    weight, bias = tensors.take("w_enc", width, latents).T, tensors.take("b_enc", latents)
    return Encoder(weight, bias, JumpRelu(tensors.take("threshold", latents)))
