"""Gemma Scope 1: `params.npz`, whose folders say what it is of.

Source: Lieberum et al. 2024, arXiv 2408.05147, and the names of google/gemma-scope-*; SAELens
6.54.12, get_gemma_2_config_from_hf and gemma_2_sae_huggingface_loader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.dictionary import (
    Decoder,
    Dictionary,
    Encoder,
    Notes,
    Place,
)
from polyseme.workers.analysis.dictionaries.gates import JumpRelu
from polyseme.workers.analysis.dictionaries.hook_names import make_place, parse_hook
from polyseme.workers.analysis.dictionaries.weight_files import Folder, Tensors

WEIGHTS = "params.npz"
_RELEASE = re.compile(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)\b")
_CONTEXT = 1024  # tokens; texts began with the token that begins one
_EXPECTED = "google's own folders, such as gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"


@dataclass(frozen=True)
class _Named:
    """What the folders' names say."""

    model_name: str
    source: Place
    target: Place
    is_embedding: bool
    latents: int | None  # as rounded as the name is
    l0: float | None


def read_gemma_scope(folder: Folder) -> Dictionary:
    """Raises DictionaryLoadError."""
    named, tensors = _read_names(folder.path), folder.arrays(WEIGHTS)
    tensors.refuse_factor()
    width, latents = _shape(tensors, named)
    weight = tensors.take("W_enc", width, latents).T
    decoding = tensors.take("W_dec", latents, tensors.shape("W_dec")[-1])
    bias = tensors.take("b_enc", latents)
    bias_out = tensors.take("b_dec", decoding.shape[1])
    gate = JumpRelu(tensors.take("threshold", latents))
    tensors.refuse_rest()
    if named.is_embedding:
        weight, decoding, bias_out = _scale(weight, decoding, bias_out)
    notes = Notes(named.model_name, named.l0, prepend_bos=True, context_size=_CONTEXT)
    encoder, decoder = Encoder(weight, bias, gate), Decoder(decoding, bias_out)
    return Dictionary(named.source, named.target, encoder, decoder, notes)


def _scale(weight: Tensor, decoding: Tensor, bias_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one trained on embeddings as they are, which Gemma multiplies by sqrt(D) before its first
    block.
    """
    factor = weight.shape[1] ** 0.5
    return weight / factor, decoding * factor, bias_out * factor


def _shape(tensors: Tensors, named: _Named) -> tuple[int, int]:
    """D and M."""
    shape = tensors.shape("W_enc")
    if len(shape) != 2:
        raise DictionaryLoadError(f"{WEIGHTS}: W_enc is of shape {shape}; expected two dimensions")
    if named.latents is not None and shape[1] != named.latents:
        raise DictionaryLoadError(
            f"{WEIGHTS}: W_enc has {shape[1]} latents, its folder's name says {named.latents}"
        )
    return shape[0], shape[1]


def _read_names(path: Path) -> _Named:
    name = path.absolute().as_posix()
    releases = list(_RELEASE.finditer(name))
    layer = re.search(r"/layer_(\d+)(?=/|$)", name)
    is_embedding = layer is None and "/embedding/" in name
    if not releases or (layer is None and not is_embedding):
        raise DictionaryLoadError(
            f"the path {name} does not say what it reads; expected {_EXPECTED}"
        )
    size, variant, kind = releases[-1].groups()
    source, target = _find_places(kind, int(layer[1]) if layer else 0, is_embedding)
    l0 = re.search(r"/average_l0_(\d+)(?=/|$)", name)
    return _Named(
        model_name=f"gemma-2-{size}" + ("-it" if variant == "it" else ""),
        source=source,
        target=target,
        is_embedding=is_embedding,
        latents=_read_width(name),
        l0=float(l0[1]) if l0 else None,
    )


def _find_places(kind: str, layer: int, is_embedding: bool) -> tuple[Place, Place]:
    if kind == "transcoders":
        return parse_hook(f"blocks.{layer}.ln2.hook_normalized"), make_place("mlp_out", layer)
    if is_embedding and kind != "res":
        raise DictionaryLoadError(f"a folder embedding of a release of {kind} is not known")
    sites = {"res": "resid_pre" if is_embedding else "resid_post", "mlp": "mlp_out", "att": "z"}
    place = make_place(sites[kind], layer)
    return place, place


def _read_width(name: str) -> int | None:
    found = re.search(r"/width_(\d+)(k|m)(?=/|$)", name)
    if not found:
        return None
    count, unit = int(found[1]), found[2]
    return _power_of_two(count * (1000 if unit == "k" else 1_000_000))


def _power_of_two(rounded: int) -> int:
    """The power of two that is written so: 16k is 16,384, 65k 65,536, 1m 1,048,576."""
    exponent = rounded.bit_length() - 1
    return min(1 << exponent, 1 << (exponent + 1), key=lambda power: abs(power - rounded))
