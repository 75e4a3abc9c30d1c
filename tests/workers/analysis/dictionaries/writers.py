"""The formats' own projects, where they are on the path: their classes with random weights, saved
by themselves, and their latents.

They stand apart from ours: `pip install --no-deps --target DIR sae-lens==6.54.12
eai-sparsify==1.3.3 circuit-tracer==0.5.0 dictionary-learning==0.1.0 'transformer-lens<4' einops
jaxtyping simple-parsing docstring-parser tenacity natsort beartype fancy_einsum better-abc
python-dotenv wadler-lindig typeguard schedulefree plotly narwhals`, then PYTHONPATH=DIR.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from polyseme.workers.analysis.dictionaries.pickled_layouts import Hints
from polyseme.workers.analysis.dictionaries.pickles import convert_pickle

D, M, E, K = 64, 512, 48, 16
_HOOK = "blocks.1.hook_resid_post"
# Of downloads, plots and remote models: no number is computed with them.
_LEFT_OUT = ("wandb", "datasets", "babe", "nltk", "plotly_express", "nnsight")


class _Nothing(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _LeaveOut(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules in place of libraries that the projects import and do not need here."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] not in _LEFT_OUT:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Nothing(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def load_writer(name: str) -> Any:
    """Raises ImportError where it is not on the path."""
    finder = _LeaveOut()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)
        for module in [m for m in sys.modules if m.partition(".")[0] in _LEFT_OUT]:
            if isinstance(sys.modules[module], _Nothing):
                del sys.modules[module]


@dataclass(frozen=True)
class Written:
    """What a project saved, and what it makes of activations."""

    path: Path
    encode: Callable[[Tensor], Tensor]  # (T, D) to (T, M)
    decode: Callable[[Tensor], Tensor] | None  # (T, D) to (T, E)


def randomise(module: Any, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape) * (0.3 if parameter.dim() > 1 else 0.5)
            parameter.copy_(noise.abs() + 0.2 if "threshold" in name else noise)


def write_saelens(name: str, folder: Path, **cfg: Any) -> Written:
    """By SAELens 6: an SAE or a transcoder of that architecture, for inference."""
    saes, sae_module = load_writer("sae_lens.saes"), load_writer("sae_lens.saes.sae")
    registry = load_writer("sae_lens.registry")
    build, settings = registry.get_sae_class(name)
    said = {"model_name": "m", "hook_name": _HOOK, "hook_head_index": None}
    if "transcoder" in name:
        cfg |= {"d_out": E, "apply_b_dec_to_input": False}
        said |= {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    made = build(settings(d_in=D, d_sae=M, metadata=sae_module.SAEMetadata(**said), **cfg))
    assert saes is not None
    randomise(made)
    made.save_model(folder)
    return Written(folder, made.encode, made.forward)


def write_trained(name: str, folder: Path, **cfg: Any) -> Written:
    """By SAELens 6: one in training, saved for inference. Its latents are those of its own reader,
    as in training they depend on the batch.
    """
    registry, sae_module = load_writer("sae_lens.registry"), load_writer("sae_lens.saes.sae")
    build, settings = registry.get_sae_training_class(name)
    metadata = sae_module.SAEMetadata(model_name="m", hook_name=_HOOK)
    made = build(settings(d_in=D, d_sae=M, k=K, metadata=metadata, **cfg))
    randomise(made)
    if hasattr(made, "topk_threshold"):
        made.topk_threshold.fill_(3.0)
    made.save_inference_model(folder)
    again = sae_module.SAE.load_from_disk(folder)
    return Written(folder, again.encode, again.forward)


def write_sparsify(folder: Path, **cfg: Any) -> Written:
    coder, config = load_writer("sparsify.sparse_coder"), load_writer("sparsify.config")
    made = coder.SparseCoder(D, config.SparseCoderConfig(num_latents=M, k=K, **cfg))
    randomise(made)
    made.save_to_disk(folder / "layers.1.mlp")

    def encode(x: Tensor) -> Tensor:
        found = made.encode(x)
        return torch.zeros(len(x), M).scatter(1, found.top_indices, found.top_acts)

    def decode(x: Tensor) -> Tensor:
        return made(x, y=x).sae_out

    return Written(folder / "layers.1.mlp", encode, decode)


def write_clt(folder: Path, activation: str) -> Written:
    module = load_writer("circuit_tracer.transcoder.cross_layer_transcoder")
    made = module.CrossLayerTranscoder(
        3,
        M,
        D,
        activation_function=activation,
        lazy_decoder=False,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    randomise(made)
    made.to_safetensors(str(folder))
    kind = "model_name: m\nmodel_kind: cross_layer_transcoder\nfeature_input_hook: hook_resid_mid\n"
    (folder / "config.yaml").write_text(kind)
    return Written(folder / "W_enc_1.safetensors", lambda x: made.encode_layer(x, 1), None)


def write_learned(name: str, folder: Path, **options: Any) -> Written:
    """By dictionary_learning, as its training saves it, and converted."""
    module = load_writer(f"dictionary_learning.{_LEARNED[name]}")
    build = getattr(module, name)
    made = build(D, M, **options)
    randomise(made)
    if getattr(made, "threshold", None) is not None and made.threshold.dim() == 0:
        made.threshold.fill_(3.0)
    folder.mkdir(parents=True)
    torch.save(made.state_dict(), folder / "ae.pt")
    trainer = {"dict_class": name, "layer": 1, "submodule_name": "resid_post_layer_1"}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
    convert_pickle(folder / "ae.pt", folder / "made", Hints())
    return Written(folder / "made", made.encode, lambda x: made(x))


_LEARNED = {
    "AutoEncoder": "dictionary",
    "AutoEncoderNew": "dictionary",
    "GatedAutoEncoder": "dictionary",
    "JumpReluAutoEncoder": "dictionary",
    "AutoEncoderTopK": "trainers.top_k",
    "BatchTopKSAE": "trainers.batch_top_k",
    "MatryoshkaBatchTopKSAE": "trainers.matryoshka_batch_top_k",
}


def write_gemma_scope(folder: Path) -> Written:
    """The layout that google's repositories have, and circuit-tracer's reading of it."""
    module = load_writer("circuit_tracer.transcoder.single_layer_transcoder")
    folder = folder / "gemma-scope-2b-pt-transcoders/layer_1/average_l0_40"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{k: v.numpy() for k, v in _jumping("W").items()})
    made = module.load_gemma_scope_transcoder(
        str(folder / "params.npz"), 1, device=torch.device("cpu")
    )
    return Written(folder, made.encode, made.forward)


def write_gemma_scope_2(folder: Path) -> Written:
    """Likewise, with a skip."""
    module = load_writer("circuit_tracer.transcoder.single_layer_transcoder")
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    tensors = _jumping("w") | {"affine_skip_connection": torch.randn(D, D) * 0.3}
    save_file(tensors, folder / "params.safetensors")
    norm = "model.layers.1.{}_feedforward_layernorm.output"
    cfg = {
        "hf_hook_point_in": norm.format("pre"),
        "hf_hook_point_out": norm.format("post"),
        "architecture": "jump_relu",
        "affine_connection": True,
        "width": M,
    }
    (folder / "config.json").write_text(json.dumps(cfg))
    made = module.load_gemma_scope_2_transcoder(
        str(folder / "params.safetensors"), 1, device=torch.device("cpu")
    )
    return Written(folder, made.encode, made.forward)


def _jumping(letter: str) -> dict[str, Tensor]:
    torch.manual_seed(4)
    return {
        f"{letter}_enc": torch.randn(D, M) * 0.3,
        f"{letter}_dec": torch.randn(M, D) * 0.3,
        "b_enc": torch.randn(M) * 0.5,
        "b_dec": torch.randn(D) * 0.5,
        "threshold": torch.rand(M) + 0.2,
    }
