"""What the pickles of other projects hold, and what that is in SAELens' words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.hook_names import parse_hook

# The layout's version, by which SAELens tells flat settings from those with metadata.
_SAELENS = "6.0.0"
_CLASSES = {"topk": "AutoEncoderTopK", "batchtopk": "BatchTopKSAE"}


@dataclass(frozen=True)
class Hints:
    """What an operator says of a file that does not say it; None: nothing."""

    hook: str | None = None  # TransformerLens' name of what it reads
    model_name: str | None = None
    k: int | None = None
    architecture: str | None = None  # topk or batchtopk, of files that may be either


@dataclass(frozen=True)
class Pickled:
    file: Path
    values: dict[str, Any]
    trained: dict[str, Any]  # dictionary_learning's config.json beside it; empty without

    def tensor(self, name: str) -> Tensor:
        value = self.values[name]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise DictionaryLoadError(f"{self.file.name}: {name} is no tensor of floating points")
        return value.float()

    def matrix(self, name: str) -> Tensor:
        value = self.tensor(name)
        if value.dim() != 2:
            raise DictionaryLoadError(
                f"{self.file.name}: {name} is of shape {tuple(value.shape)}; expected two "
                f"dimensions"
            )
        return value

    def trainer(self, name: str) -> Any:
        return self.trained.get("trainer", {}).get(name)


@dataclass(frozen=True)
class Made:
    """A dictionary in SAELens' layout."""

    settings: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    name: str  # whose it is
    needed: frozenset[str]  # names of its values
    allowed: frozenset[str]  # and of those that change nothing, or may be missing
    convert: Callable[[Pickled, Hints], Made]
    classes: tuple[str, ...] = ()  # dictionary_learning's names of it

    def fits(self, names: frozenset[str]) -> bool:
        return self.needed <= names <= self.needed | self.allowed


def find_layout(
    file: Path, values: Mapping[str, Any], trained: Mapping[str, Any], hints: Hints
) -> Layout:
    """By the names of the values; where two projects use the same, by the class in the settings
    beside the file or by the operator's word.

    Raises DictionaryLoadError.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(frozenset(values))]
    if not fitting:
        raise DictionaryLoadError(
            f"{file.name} holds {', '.join(sorted(values)) or 'nothing'}; known are "
            + "; ".join(f"{lay.name} ({', '.join(sorted(lay.needed))})" for lay in LAYOUTS)
        )
    given = _CLASSES.get(hints.architecture or "") or trained.get("trainer", {}).get("dict_class")
    if given is not None and any(layout.classes for layout in fitting):
        fitting = [layout for layout in fitting if given in layout.classes]
        if not fitting:
            raise DictionaryLoadError(f"{file.name} does not hold the values of a {given}")
    if len(fitting) > 1:
        raise DictionaryLoadError(
            f"{file.name} may be of {' or '.join(layout.name for layout in fitting)}: keep its "
            f"config.json beside it, or say --architecture"
        )
    return fitting[0]


def _make(
    pickled: Pickled, hints: Hints, architecture: str, tensors: dict[str, Tensor], **settings: Any
) -> Made:
    width, latents = tensors["W_enc"].shape
    metadata = {
        "sae_lens_version": _SAELENS,
        "model_name": hints.model_name or pickled.trainer("lm_name"),
        "hook_name": _find_hook(pickled, hints),
        "context_size": pickled.trained.get("buffer", {}).get("ctx_len"),
        "converted_from": pickled.file.name,
    }
    sizes = {"d_in": width, "d_sae": latents, "dtype": "float32", "device": "cpu"}
    defaults = {"normalize_activations": "none", "reshape_activations": "none"}
    return Made(
        {"architecture": architecture, **sizes, **defaults, **settings, "metadata": metadata},
        {name: value.contiguous() for name, value in tensors.items()},
    )


def _find_hook(pickled: Pickled, hints: Hints) -> str:
    """As the operator says, or as the names say for certain. Raises DictionaryLoadError."""
    if hints.hook is not None:
        return parse_hook(hints.hook).hook
    module = re.fullmatch(r"resid_post_layer_(\d+)", str(pickled.trainer("submodule_name")))
    # Qwen Scope's layer7.sae.pt, and Goodfire's …-SAE-l19.pth.
    file = re.fullmatch(r"layer(\d+)\.sae\.pt|.*-SAE-l(\d+)\.pth?", pickled.file.name)
    layer = module[1] if module else (file[1] or file[2]) if file else None
    if layer is None:
        raise DictionaryLoadError(
            f"{pickled.file.name} does not say what it reads: say --hook, such as "
            f"blocks.8.hook_resid_post"
        )
    return f"blocks.{layer}.hook_resid_post"


def _linear(pickled: Pickled, bias_out: str, encoder: str = "encoder.bias") -> dict[str, Tensor]:
    """Of torch.nn.Linear's weights, which are transposed. The biases by name."""
    return {
        "W_enc": pickled.matrix("encoder.weight").T,
        "b_enc": pickled.tensor(encoder),
        "W_dec": pickled.matrix("decoder.weight").T,
        "b_dec": pickled.tensor(bias_out),
    }


def _plain(pickled: Pickled, names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: pickled.tensor(name) for name in names}


def _autoencoder(pickled: Pickled, hints: Hints) -> Made:
    tensors = _linear(pickled, "bias")
    return _make(pickled, hints, "standard", tensors, apply_b_dec_to_input=True)


def _autoencoder_new(pickled: Pickled, hints: Hints) -> Made:
    tensors = _linear(pickled, "decoder.bias")
    return _make(pickled, hints, "standard", tensors, apply_b_dec_to_input=False)


def _gated(pickled: Pickled, hints: Hints) -> Made:
    tensors = {
        "W_enc": pickled.matrix("encoder.weight").T,
        "W_dec": pickled.matrix("decoder.weight").T,
        "b_dec": pickled.tensor("decoder_bias"),
        "b_gate": pickled.tensor("gate_bias"),
        "b_mag": pickled.tensor("mag_bias"),
        "r_mag": pickled.tensor("r_mag"),
    }
    return _make(pickled, hints, "gated", tensors, apply_b_dec_to_input=True)


def _jumprelu(pickled: Pickled, hints: Hints) -> Made:
    tensors = _plain(pickled, ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"))
    return _make(pickled, hints, "jumprelu", tensors, apply_b_dec_to_input=False)


def _topk(pickled: Pickled, hints: Hints) -> Made:
    """The threshold that it has, too, is not what it encodes with."""
    k, tensors = _find_k(pickled, hints), _linear(pickled, "b_dec")
    return _make(pickled, hints, "topk", tensors, k=k, apply_b_dec_to_input=True)


def _batchtopk(pickled: Pickled, hints: Hints) -> Made:
    return _with_threshold(pickled, hints, _linear(pickled, "b_dec"))


def _matryoshka(pickled: Pickled, hints: Hints) -> Made:
    tensors = _plain(pickled, ("W_enc", "b_enc", "W_dec", "b_dec"))
    return _with_threshold(pickled, hints, tensors)


def _with_threshold(pickled: Pickled, hints: Hints, tensors: dict[str, Tensor]) -> Made:
    """Of a batch top-k: it encodes with one threshold, which stands for k a token."""
    threshold = pickled.tensor("threshold")
    if threshold.numel() != 1:
        raise DictionaryLoadError(
            f"{pickled.file.name}: threshold is of shape {tuple(threshold.shape)}; expected one "
            f"number"
        )
    filled = torch.full_like(tensors["b_enc"], float(threshold))
    made = _make(
        pickled,
        hints,
        "jumprelu",
        {**tensors, "threshold": filled},
        apply_b_dec_to_input=True,
    )
    trained = {
        "training_architecture": "batchtopk",
        "training_architecture_details": {"k": _find_k(pickled, hints)},
    }
    return Made(
        {**made.settings, "metadata": {**made.settings["metadata"], **trained}}, made.tensors
    )


def _qwen_scope(pickled: Pickled, hints: Hints) -> Made:
    tensors = _plain(pickled, ("b_enc", "b_dec"))
    tensors |= {"W_enc": pickled.matrix("W_enc").T, "W_dec": pickled.matrix("W_dec").T}
    k = _find_k(pickled, hints)
    return _make(pickled, hints, "topk", tensors, k=k, apply_b_dec_to_input=False)


def _goodfire(pickled: Pickled, hints: Hints) -> Made:
    tensors = {
        "W_enc": pickled.matrix("encoder_linear.weight").T,
        "b_enc": pickled.tensor("encoder_linear.bias"),
        "W_dec": pickled.matrix("decoder_linear.weight").T,
        "b_dec": pickled.tensor("decoder_linear.bias"),
    }
    return _make(pickled, hints, "standard", tensors, apply_b_dec_to_input=False)


def _openai(pickled: Pickled, hints: Hints) -> Made:
    """With a top-k it was trained on activations behind a layer norm, else on them as they are."""
    tensors = _linear(pickled, "pre_bias", "latent_bias")
    name = pickled.values.get("activation", "ReLU")
    if name == "ReLU":
        return _make(pickled, hints, "standard", tensors, apply_b_dec_to_input=True)
    state = pickled.values.get("activation_state_dict")
    inner = state.get("postact_fn", "ReLU") if isinstance(state, Mapping) else None
    if name != "TopK" or inner != "ReLU":
        raise DictionaryLoadError(
            f"{pickled.file.name}: activation is {name!r} with {inner!r}; read are ReLU, and TopK "
            f"with ReLU"
        )
    norm = {"normalize_activations": "layer_norm", "apply_b_dec_to_input": True}
    return _make(pickled, hints, "topk", tensors, k=_find_k(pickled, hints), **norm)


def _find_k(pickled: Pickled, hints: Hints) -> int:
    """As the file says, or its folder (…-L0_50), or the operator. Raises DictionaryLoadError."""
    state = pickled.values.get("activation_state_dict")
    said = pickled.values.get("k", state.get("k") if isinstance(state, Mapping) else None)
    folder = re.search(r"-L0_(\d+)$", pickled.file.absolute().parent.name)
    found = int(said) if said is not None else int(folder[1]) if folder else hints.k
    if found is None:
        raise DictionaryLoadError(
            f"{pickled.file.name} does not say how many latents are active: say --k"
        )
    if hints.k is not None and hints.k != found:
        raise DictionaryLoadError(f"{pickled.file.name} has k = {found}, not {hints.k}")
    return found


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TORCH_LINEAR = "encoder.weight encoder.bias decoder.weight"
_SAE_NAMES = "W_enc b_enc W_dec b_dec"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "dictionary_learning's AutoEncoder",
        _names(f"bias {_TORCH_LINEAR}"),
        _names(""),
        _autoencoder,
        ("AutoEncoder",),
    ),
    Layout(
        "dictionary_learning's AutoEncoderNew, and others with two linear layers",
        _names(f"{_TORCH_LINEAR} decoder.bias"),
        _names(""),
        _autoencoder_new,
        ("AutoEncoderNew",),
    ),
    Layout(
        "dictionary_learning's GatedAutoEncoder",
        _names("encoder.weight decoder.weight decoder_bias r_mag gate_bias mag_bias"),
        _names(""),
        _gated,
        ("GatedAutoEncoder",),
    ),
    Layout(
        "dictionary_learning's JumpReluAutoEncoder",
        _names(f"{_SAE_NAMES} threshold"),
        _names(""),
        _jumprelu,
        ("JumpReluAutoEncoder",),
    ),
    Layout(
        "dictionary_learning's AutoEncoderTopK",
        _names(f"{_TORCH_LINEAR} b_dec k"),
        _names("threshold"),
        _topk,
        ("AutoEncoderTopK",),
    ),
    Layout(
        "dictionary_learning's BatchTopKSAE",
        _names(f"{_TORCH_LINEAR} b_dec k threshold"),
        _names(""),
        _batchtopk,
        ("BatchTopKSAE",),
    ),
    Layout(
        "dictionary_learning's MatryoshkaBatchTopKSAE",
        _names(f"{_SAE_NAMES} k threshold group_sizes"),
        _names(""),
        _matryoshka,
        ("MatryoshkaBatchTopKSAE",),
    ),
    Layout(
        "OpenAI's sparse_autoencoder",
        _names("pre_bias latent_bias encoder.weight decoder.weight"),
        _names("stats_last_nonzero activation activation_state_dict"),
        _openai,
    ),
    Layout("Qwen Scope", _names(_SAE_NAMES), _names(""), _qwen_scope),
    Layout(
        "Goodfire",
        _names(
            "encoder_linear.weight encoder_linear.bias decoder_linear.weight decoder_linear.bias"
        ),
        _names(""),
        _goodfire,
    ),
)
