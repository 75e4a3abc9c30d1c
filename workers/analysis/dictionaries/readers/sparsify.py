"""EleutherAI's sparsify: `cfg.json` and `sae.safetensors` in a folder named after what it reads.

Source of the numerics: sparsify 1.3.3, sparse_coder.py and fused_encoder.py.
"""

from __future__ import annotations

import re
from pathlib import Path

from polyseme.workers.analysis.dictionaries.cfg import Cfg
from polyseme.workers.analysis.dictionaries.dictionary import Decoder, Dictionary, Encoder, Notes
from polyseme.workers.analysis.dictionaries.gates import Gate, GroupMax, TopK
from polyseme.workers.analysis.dictionaries.hook_names import parse_sparsify
from polyseme.workers.analysis.dictionaries.weight_files import Folder

SETTINGS, WEIGHTS = "cfg.json", "sae.safetensors"
_EXPANSION = 32  # where the file does not say


def read_sparsify(folder: Folder) -> Dictionary:
    """Raises DictionaryLoadError."""
    cfg = Cfg(SETTINGS, folder.json(SETTINGS))
    width = cfg.whole("d_in")
    latents = _take_latents(cfg, width)
    gate, k = _take_gate(cfg, latents)
    transcodes, skips = cfg.flag("transcode", False), cfg.flag("skip_connection", False)
    source, target = parse_sparsify(_find_name(folder.path), transcodes=transcodes)
    cfg.expect("signed", (False,), "latents that may be negative are not read")
    cfg.ignore(("normalize_decoder", "multi_topk"))  # of training
    cfg.refuse_rest()

    tensors = folder.safetensors(WEIGHTS)
    weight = tensors.take("encoder.weight", latents, width)
    bias = tensors.take("encoder.bias", latents)
    bias_out = tensors.take("b_dec", width)
    decoding = tensors.take("W_dec", latents, width)
    skip = tensors.take("W_skip", width, width) if skips else None
    tensors.refuse_rest()
    encoder = Encoder(weight, bias, gate, centre=None if transcodes else bias_out)
    decoder = Decoder(decoding, bias_out, skip=skip)
    return Dictionary(source, target, encoder, decoder, Notes(expected_l0=float(k), most_active=k))


def _take_latents(cfg: Cfg, width: int) -> int:
    """0 means that the expansion factor says it."""
    expansion = cfg.whole("expansion_factor", _EXPANSION)
    latents: int = cfg.whole("num_latents", 0, least=0)
    return latents or width * int(expansion)


def _take_gate(cfg: Cfg, latents: int) -> tuple[Gate, int]:
    name = cfg.expect("activation", ("topk", "groupmax"), "another activation function")
    k = cfg.whole("k", 32)
    if k > latents:
        raise cfg.wrong("k", k, f"at most {latents}, the number of latents")
    if name == "groupmax" and latents % k:
        raise cfg.wrong("k", k, f"a divisor of {latents}, the number of latents, for groupmax")
    return (TopK(k) if name == "topk" else GroupMax(k)), k


def _find_name(path: Path) -> str:
    """Of the module; one of several seeds lies in a folder inside."""
    path = path.absolute()
    return path.parent.name if re.fullmatch(r"seed\d+", path.name) else path.name
