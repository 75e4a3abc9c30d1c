"""Tiny dictionaries of random numbers, written as each format's own project writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D, M, E = 6, 20, 5  # width, latents, width of a transcoder's output
HOOK = "blocks.1.hook_resid_post"

Tensors = dict[str, Tensor]


def noise(*shape: int, seed: int = 0, scale: float = 0.5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def saelens_tensors(out: int = D) -> Tensors:
    return {
        "W_enc": noise(D, M, seed=1),
        "b_enc": noise(M, seed=2),
        "W_dec": noise(M, out, seed=3),
        "b_dec": noise(out, seed=4),
    }


def gated_tensors() -> Tensors:
    gates = {name: noise(M, seed=n) for n, name in enumerate(("b_gate", "b_mag", "r_mag"), 5)}
    return {k: v for k, v in saelens_tensors().items() if k != "b_enc"} | gates


def jumprelu_tensors(out: int = D) -> Tensors:
    return saelens_tensors(out) | {"threshold": noise(M, seed=8).abs()}


def write_saelens(
    folder: Path, tensors: Tensors, *, metadata: dict[str, Any] | None = None, **cfg: Any
) -> Path:
    """Of SAELens 6 and newer."""
    said = {"sae_lens_version": "6.54.12", "hook_name": HOOK, "hook_head_index": None}
    values = {
        "d_in": D,
        "d_sae": M,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "architecture": "standard",
        "metadata": said | (metadata or {}),
    }
    return write(folder, "cfg.json", values | cfg, "sae_weights.safetensors", tensors)


def write_saelens_5(folder: Path, tensors: Tensors, **cfg: Any) -> Path:
    values = {
        "d_in": D,
        "d_sae": M,
        "dtype": "float32",
        "device": "cpu",
        "model_name": "gpt2-small",
        "hook_point": HOOK,
        "hook_point_layer": 1,
        "activation_fn_str": "relu",
        "prepend_bos": True,
        "context_size": 128,
        "lr": 0.0004,
    }
    return write(folder, "cfg.json", values | cfg, "sae_weights.safetensors", tensors)


def write_gemma_scope(folder: Path, tensors: Tensors | None = None) -> Path:
    """In a folder that says what it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    values = jumprelu_tensors() if tensors is None else tensors
    np.savez(folder / "params.npz", **{k: v.numpy() for k, v in values.items()})
    return folder


def gemma_scope_2_tensors(out: int = D) -> Tensors:
    return {name.replace("W_", "w_"): value for name, value in jumprelu_tensors(out).items()}


def write_gemma_scope_2(folder: Path, tensors: Tensors, **cfg: Any) -> Path:
    values = {
        "hf_hook_point_in": "model.layers.1.output",
        "hf_hook_point_out": "model.layers.1.output",
        "width": M,
        "model_name": "gemma-3-270m",
        "architecture": "jump_relu",
        "l0": 7,
        "affine_connection": False,
        "type": "sae",
    }
    return write(folder, "config.json", values | cfg, "params.safetensors", tensors)


def sparsify_tensors() -> Tensors:
    return {
        "encoder.weight": noise(M, D, seed=1),
        "encoder.bias": noise(M, seed=2),
        "W_dec": noise(M, D, seed=3),
        "b_dec": noise(D, seed=4),
    }


def write_sparsify(folder: Path, tensors: Tensors | None = None, **cfg: Any) -> Path:
    """The folder's name is the module's."""
    values = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": M,
        "k": 4,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": D,
    }
    return write(folder, "cfg.json", values | cfg, "sae.safetensors", tensors or sparsify_tensors())


def write_clt(folder: Path, layer: int = 2, *, threshold: Tensor | None = None, **cfg: Any) -> Path:
    """Of circuit-tracer; the file of one layer's encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "model_name": "google/gemma-2-2b",
        "model_kind": "cross_layer_transcoder",
        "feature_input_hook": "hook_resid_mid",
        "feature_output_hook": "hook_mlp_out",
        "scan": "a",
    }
    lines = (f"{name}: {json.dumps(value)}\n" for name, value in (values | cfg).items())
    (folder / "config.yaml").write_text("".join(lines))
    tensors = {
        f"W_enc_{layer}": noise(M, D, seed=1),
        f"b_enc_{layer}": noise(M, seed=2),
        f"b_dec_{layer}": noise(D, seed=4),
    }
    if threshold is not None:
        tensors[f"threshold_{layer}"] = threshold
    file = folder / f"W_enc_{layer}.safetensors"
    save_file(tensors, file)
    return file


def write_mirror(folder: Path, hook: str, width: int) -> Path:
    """An SAE that gives back what it gets: a latent for each sign of each number."""
    both = torch.cat([torch.eye(width), -torch.eye(width)])  # (M, D)
    tensors = {
        "W_enc": both.T,
        "b_enc": torch.zeros(2 * width),
        "W_dec": both,
        "b_dec": torch.zeros(width),
    }
    sizes = {"d_in": width, "d_sae": 2 * width}
    return write_saelens(folder, tensors, metadata={"hook_name": hook}, **sizes)


def mirror_autoencoder(width: int) -> Tensors:
    """The same as dictionary_learning keeps it."""
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    return {
        "encoder.weight": both,
        "encoder.bias": torch.zeros(2 * width),
        "decoder.weight": both.T.contiguous(),
        "bias": torch.zeros(width),
    }


def write(folder: Path, settings: str, values: Any, weights: str, tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / settings).write_text(json.dumps(values))
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / weights)
    return folder
