"""What a result says of itself: its manifest.

And the address of a scan, by which a later job finds the same one.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import tokenizers
import torch
import transformers

from polyseme.contract import __version__
from polyseme.contract.files.results import FORMAT
from polyseme.contract.records.catalogue import shown_source
from polyseme.contract.records.selection import format_ranges
from polyseme.workers.analysis.corpus.plan import read_plan
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.scan.out_of_memory import count_cut
from polyseme.workers.analysis.senses.pairs import kind_of_pairs
from polyseme.workers.analysis.sites.controls import SEED
from polyseme.workers.analysis.steps.analysis import Analysis, bands_file, fits_file
from polyseme.workers.analysis.steps.copies import copy_of_layer, read_copied_manifest
from polyseme.workers.analysis.steps.word_encoder import chosen_encoder

_UNRELATED = (
    "metadata",
    "priority",
    "deadline_s",
    "webhook",
    "reuse",
)  # fields of a request that do not decide the result


def describe_analysis(
    analysis: Analysis, model: LoadedModel, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest: all that decides the result, and nothing that does not, such as times or the
    number of shards.

    But for `reused`, which says what was not computed anew. plan: the fields of a Plan.
    """
    return {
        "format": FORMAT,
        "model": {
            "id": analysis.card.id,
            "source": shown_source(analysis.card.source),
            "family": analysis.card.family,
            "config_sha256": model.config_sha256,
            "weights_sha256": model.weights_sha256,
            "tokenizer_sha256": model.tokenizer_sha256,
        },
        "corpus": {k: v for k, v in analysis.corpus.to_dict().items() if k != "created_at"},
        "request": {k: v for k, v in analysis.request.to_dict().items() if k not in _UNRELATED},
        "site": asdict(analysis.card.site(analysis.site.name)),
        "layers": list(analysis.layers),
        "neurons_per_layer": len(analysis.neurons),
        "plan": {k: v for k, v in plan.items() if k != "shards"},
        "block_tokens": analysis.block_tokens,
        # Of blocks that did not fit into the device's memory. 0, or the last bits depend on how
        # much of it was free.
        "blocks_in_parts": _count_cut(analysis) if analysis.scanned else 0,
        "senses": describe_senses(analysis, chosen_encoder(analysis)),
        "controls": describe_controls(analysis),
        "dictionaries": describe_dictionaries(analysis),
        **_describe_machine(model),
        "scan_address": scan_address(analysis, model),
        "reused": {job: format_ranges(layers) for job, layers in analysis.reused.items()} or None,
    }


def _describe_machine(model: LoadedModel) -> dict[str, Any]:
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "compiled": model.relay is not None,
        "device_name": _device_name(model.device),
        "versions": {
            "polyseme": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "pyarrow": pa.__version__,
        },
    }


def scan_address(analysis: Analysis, model: LoadedModel) -> str:
    """The SHA-256 of all that decides what a scan finds in one layer, whichever other layers are
    scanned with it.

    Two results with one address have the same bytes in the layers they share, but for their senses,
    which can be made anew from either.
    """
    request = analysis.request
    decides = {
        "format": FORMAT,
        "family": analysis.card.family,
        "config": model.config_sha256,
        "weights": model.weights_sha256,
        "tokenizer": model.tokenizer_sha256,
        "corpus": analysis.corpus.sha256,
        "site": request.neurons.site,
        **({"own_units": analysis.site.sha256} if analysis.site.sha256 else {}),
        "neurons": analysis.neurons,
        "contexts": asdict(request.contexts),
        "tokens": asdict(request.tokens),
        "senses": request.senses.enabled,
        "controls": describe_controls(analysis),
        "block_tokens": analysis.block_tokens,
        **_describe_machine(model),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def describe_dictionaries(analysis: Analysis) -> list[dict[str, Any]] | None:
    """Of each layer the dictionary whose latents were analysed, and how well it fits where that was
    measured; None of other units.
    """
    if not analysis.latents:
        return None
    fits = _read_fits(analysis)
    return [
        {
            "id": latents.name,
            "layer": layer,
            "hook": latents.dictionary.hook,
            "architecture": latents.dictionary.architecture,
            "latents": latents.dictionary.latents,
            "format": latents.dictionary.format,
            "sha256": latents.dictionary.sha256,
            "expected_l0": latents.dictionary.notes.expected_l0,
            "fit": fits.get(str(layer)),
        }
        for layer, latents in sorted(analysis.latents.items())
    ]


def _read_fits(analysis: Analysis) -> dict[str, Any]:
    """By layer; of those taken over from other results as these have it."""
    fits: dict[str, Any] = {}
    for layer in analysis.layers:
        if (folder := copy_of_layer(analysis, layer)) is not None:
            known = read_copied_manifest(analysis.store, folder)["dictionaries"]
            fits |= {str(d["layer"]): d["fit"] for d in known if d["layer"] == layer}
    if analysis.scanned and analysis.is_calibrated:
        found = read_arrays(analysis.store, fits_file(analysis))["fits"]
        fits |= json.loads(found.tobytes())
    return fits


def describe_controls(analysis: Analysis) -> dict[str, Any] | None:
    """How the control units were made, and how many a layer; None without."""
    recipe = analysis.site.controls
    if recipe is None or not analysis.controls:
        return None
    return {"recipe": recipe.name, "per_layer": analysis.controls, "seed": SEED}


def describe_senses(analysis: Analysis, encoder_sha256: str | None) -> dict[str, Any] | None:
    """What went into the senses beyond the request."""
    if not analysis.request.senses.enabled:
        return None
    layers = reference_layers(analysis.card.layers)
    kind = kind_of_pairs(analysis.request.senses, has_words=encoder_sha256 is not None)
    return {
        "reference_hooks": [f"blocks.{layer}.hook_resid_pre" for layer in layers],
        "encoder_sha256": encoder_sha256,
        "pairs": kind.name,
        "pairs_sha256": kind.sha256,
    }


def _count_cut(analysis: Analysis) -> int:
    shards = len(read_plan(analysis.store, analysis.work).shards)
    partials = [partial_file(analysis.work, shard) for shard in range(shards)]
    return count_cut(
        analysis.store, [bands_file(analysis), *partials] if analysis.is_calibrated else partials
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()
