"""Writes a GGUF file's model as config.json, tokenizer.json and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from polyseme.workers.analysis.families.parts import build_empty, find_family
from polyseme.workers.analysis.models.gguf.configs import Architecture, find_architecture
from polyseme.workers.analysis.models.gguf.gguf_file import GgufFile
from polyseme.workers.analysis.models.gguf.tokenizer_of import read_tokenizer_of

_FILE_BYTES = 2 << 30  # of a file with weights; one is in memory at a time
_UNEMBEDDING = "lm_head.weight"


def convert(source: Path, target: Path) -> None:
    """target: a folder that is there.

    Raises ValueError for a file with anything that is not known here, and what the library raises
    for one that is damaged.
    """
    file = GgufFile(source)
    architecture = find_architecture(file)
    config = AutoConfig.for_model(architecture.model_type, **architecture.config(file))
    tokenizer, settings = read_tokenizer_of(file)
    names = _name_tensors(file, config)
    file.check_all_used()
    config.save_pretrained(str(target))
    tokenizer.save(str(target / "tokenizer.json"))
    (target / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    _write_weights(target, _weights(file, architecture, config, names))


def _name_tensors(file: GgufFile, config: Any) -> dict[str, str]:
    """Of each parameter of the model its tensor's name in the file.

    Raises ValueError for one that is not there, or of another shape.
    """
    [arch] = (key for key, name in MODEL_ARCH_NAMES.items() if name == file.architecture)
    table = get_tensor_name_map(arch, config.num_hidden_layers)
    model = build_empty(config, find_family(config))
    found = {}
    for name, parameter in model.state_dict().items():
        if name == _UNEMBEDDING and config.tie_word_embeddings:
            continue
        path, _, ending = name.rpartition(".")
        # The table has some models' names without what their bodies are called.
        known = table.get_name(path) or table.get_name(path.partition(".")[2])
        if known is None:
            raise ValueError(f"no name for {name} in files of the architecture {file.architecture}")
        tensor = f"{known}.{ending}"
        if sorted(file.claim(tensor)) != sorted(parameter.shape):
            raise ValueError(
                f"its tensor {tensor} is of {file.claim(tensor)}, where its config says "
                f"{tuple(parameter.shape)}"
            )
        found[name] = tensor
    return found


def _weights(
    file: GgufFile, architecture: Architecture, config: Any, names: dict[str, str]
) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in names.items():
        values = architecture.layout(file.take(tensor), name, config)
        yield name, torch.from_numpy(values.copy())


def _write_weights(target: Path, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
    """As files of at most _FILE_BYTES, or of one tensor, with an index."""
    places: dict[str, str] = {}
    held: dict[str, torch.Tensor] = {}
    size = 0

    def write() -> None:
        file = f"model-{len(set(places.values())):05d}.safetensors"
        save_file(held, str(target / file), metadata={"format": "pt"})
        places.update(dict.fromkeys(held, file))
        held.clear()

    for name, tensor in weights:
        if held and size + tensor.nbytes > _FILE_BYTES:
            write()
            size = 0
        held[name] = tensor
        size += tensor.nbytes
    write()
    index = {"metadata": {}, "weight_map": places}
    (target / SAFE_WEIGHTS_INDEX_NAME).write_text(json.dumps(index), encoding="utf-8")
