"""Two results over the same text beside each other.

Each has its control units with it: a difference that these have too is none of the neurons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc

from polyseme.contract.files.results import MANIFEST
from polyseme.service.results.comparison_sentence import say_difference
from polyseme.service.results.result import Results
from polyseme.service.results.same_text import (
    Manifest,
    check_same_text,
    describe_text,
    list_unlike,
)
from polyseme.service.results.unit_groups import EDGES, Group, compare_groups


def compare_results(results: Results, jobs: tuple[str, str]) -> dict[str, Any]:
    """Raises OtherText; Gone, ResultDamaged."""
    manifests = _read_manifest(results, jobs[0]), _read_manifest(results, jobs[1])
    check_same_text(jobs, manifests)
    neurons = Group(results.scalars(jobs[0]).table), Group(results.scalars(jobs[1]).table)
    controls = _read_controls(results, jobs[0]), _read_controls(results, jobs[1])
    between = compare_groups(*neurons)
    both = (controls[0], controls[1]) if controls[0] and controls[1] else None
    return {
        "object": "comparison",
        "text": describe_text(manifests[0]),
        "unlike": list_unlike(manifests),
        "units_in_both": count_common(manifests, neurons),
        "edges": EDGES,
        "results": [
            _describe(*found) for found in zip(jobs, manifests, neurons, controls, strict=True)
        ],
        "difference": {"neurons": asdict(between), "controls": _compare(*controls)},
        "says": say_difference(between, neurons, both),
    }


def count_common(manifests: tuple[Manifest, Manifest], neurons: Sequence[Group]) -> int:
    """Units that are in both results: the same neurons of the same weights, or latents of the same
    dictionary. Every layer of a result has the same neurons.
    """
    of_layers = [_name_units(manifest) for manifest in manifests]
    layers, places = (
        [set(pc.unique(group.table[name]).to_pylist()) for group in neurons]
        for name in ("layer", "neuron")
    )
    both = [n for n in layers[0] & layers[1] if of_layers[0].get(n) == of_layers[1].get(n)]
    return len(both) * len(places[0] & places[1])


def _name_units(manifest: Manifest) -> dict[int, tuple[Any, ...]]:
    """Of each layer what makes its units the same as those of another result."""
    asked, layers = manifest["request"]["neurons"], manifest["layers"]
    brought = [asked.get("vectors")] * len(layers)
    if names := asked.get("dictionary"):
        # One id may be of other files when another catalogue was in place.
        hashes = {d["layer"]: d["sha256"] for d in manifest.get("dictionaries") or ()}
        brought = [hashes.get(layer, name) for layer, name in zip(layers, names, strict=True)]
    own = manifest["model"]["weights_sha256"], asked["site"]
    return {layer: (*own, units) for layer, units in zip(layers, brought, strict=True)}


def _describe(job: str, manifest: Manifest, own: Group, controls: Group | None) -> dict[str, Any]:
    asked = manifest["request"]["neurons"]
    return {
        "job": job,
        "model": manifest["model"]["id"],
        "site": asked["site"],
        "dictionary": asked.get("dictionary"),
        "layers": manifest["layers"],
        "indices": asked["indices"],
        "neurons": own.describe(),
        "controls": controls.describe() if controls else None,
        "against_controls": _compare(own, controls),
    }


def _compare(first: Group | None, second: Group | None) -> Mapping[str, Any] | None:
    return asdict(compare_groups(first, second)) if first and second else None


def _read_manifest(results: Results, job: str) -> Manifest:
    found: Manifest = json.loads(results.read(job, MANIFEST))
    return found


def _read_controls(results: Results, job: str) -> Group | None:
    table = results.controls(job).table
    return Group(table) if len(table) else None
