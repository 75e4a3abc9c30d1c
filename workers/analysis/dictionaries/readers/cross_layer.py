"""circuit-tracer's cross-layer transcoders: `config.yaml` and `W_enc_<layer>.safetensors`.

Only the encoder of one layer is read; the files of its decoders are not opened.
Source of the numerics: circuit-tracer 0.5.0, transcoder/cross_layer_transcoder.py.
"""

from __future__ import annotations

import re

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.cfg import Cfg
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary, Encoder, Notes
from polyseme.workers.analysis.dictionaries.gates import Gate, JumpRelu, Relu
from polyseme.workers.analysis.dictionaries.hook_names import parse_hook
from polyseme.workers.analysis.dictionaries.weight_files import Folder, Tensors

SETTINGS = "config.yaml"
LAYER_WEIGHTS = re.compile(r"W_enc_(\d+)\.safetensors")
_OF_DOWNLOADS = ("feature_output_hook", "scan", "repo_id", "revision", "subfolder", "transcoders")


def read_cross_layer(folder: Folder, file: str) -> Dictionary:
    """Raises DictionaryLoadError."""
    found = LAYER_WEIGHTS.fullmatch(file)
    assert found is not None
    layer = found[1]
    cfg = Cfg(SETTINGS, folder.yaml(SETTINGS))
    source = parse_hook(f"blocks.{layer}.{cfg.text('feature_input_hook')}")
    notes = Notes(cfg.text("model_name", None))
    cfg.expect("model_kind", ("cross_layer_transcoder",), "another kind of dictionary")
    cfg.ignore(_OF_DOWNLOADS)
    cfg.refuse_rest()

    tensors = folder.safetensors(file, leave=(f"b_dec_{layer}",))
    shape = tensors.shape(f"W_enc_{layer}")
    if len(shape) != 2:
        raise DictionaryLoadError(f"{file}: W_enc_{layer} is of shape {shape}; expected (M, D)")
    weight = tensors.take(f"W_enc_{layer}", *shape)
    bias = tensors.take(f"b_enc_{layer}", shape[0])
    gate = _read_gate(tensors, f"threshold_{layer}", shape[0])
    tensors.refuse_rest()
    return Dictionary(source, None, Encoder(weight, bias, gate), None, notes)


def _read_gate(tensors: Tensors, name: str, latents: int) -> Gate:
    threshold = tensors.take_if_there(name, latents)
    if threshold is None:
        return Relu()
    if (threshold < 0).any():
        raise DictionaryLoadError(f"{name} is below 0: latents that may be negative are not read")
    return JumpRelu(threshold)
