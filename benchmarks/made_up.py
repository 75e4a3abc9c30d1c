"""A job that has just been scanned, without a scan: its text, its vectors and its activations are
made up.

Words follow Zipf's law. A word's vector is made of its family's, its own, its window's and noise; a
neuron fires on one to three families. From there on everything is the analysis' own: windows,
lists, statistics, firings, files. All layers hold the same, each under its own number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Contexts
from polyseme.workers.analysis.corpus.plan import Plan
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays, write_arrays
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.run import MAX_DOCUMENTS
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.extremes import find_peaks
from polyseme.workers.analysis.senses.background import is_random_token
from polyseme.workers.analysis.senses.firing import FiringSample, firing_threshold
from polyseme.workers.analysis.senses.vectors import (
    RESIDUAL,
    VectorWriter,
    vectors_file,
    writing_vectors,
)
from polyseme.workers.analysis.steps.analysis import CONTROLS, Analysis, bands_file, new_scan
from polyseme.workers.analysis.steps.merging import LENS_TOKENS, lens_file
from polyseme.workers.analysis.steps.planning import plan_windows
from polyseme.workers.analysis.steps.scan_shard import shard_blocks
from polyseme.workers.analysis.warm_up import save_tiny_model

WORDS, FAMILIES, WIDTH = 20_000, 500, 192
_DOCUMENT = 100  # words
_CALIBRATION = 4  # blocks that fix bands and thresholds


@dataclass(frozen=True)
class Sizes:
    layers: int
    neurons: int  # a layer
    contexts: int  # a neuron, half of them a sample
    tokens: int


def make_job(folder: Path, sizes: Sizes) -> None:
    """Leaves the work folder of a job all of whose shards have been scanned."""
    model = make_model(folder, sizes)
    analysis = make_analysis(folder, model, sizes)
    plan = plan_windows(analysis, model, make_texts(sizes.tokens))
    _write_lens(analysis, model, sizes)
    language = _Language()
    groups = {"": _Layer(sizes.neurons), CONTROLS: _Layer(analysis.controls, strongest=0.1)}
    _write_bands(analysis, model, plan, language, groups)
    known: dict[str, np.ndarray] = {}
    for shard in range(len(plan.shards)):
        known = _write_shard(analysis, model, plan, shard, language, groups, known)


def make_model(folder: Path, sizes: Sizes) -> LoadedModel:
    """A tiny model whose card says that it is a large one.

    The first call makes it, later ones read it.
    """
    saved = folder / "model"
    if not saved.exists():
        save_tiny_model(saved, words=WORDS, hidden=8, neurons=8, layers=1, heads=1)
    model = load_model(
        Entry("made-up", "path", str(saved)), device="cpu", dtype="float32", cache=folder / "cache"
    )
    sites = tuple(replace(site, units=sizes.neurons) for site in model.card.sites)
    card = replace(model.card, layers=sizes.layers, neurons=sizes.neurons, sites=sites)
    return replace(model, card=card)


def make_analysis(folder: Path, model: LoadedModel, sizes: Sizes) -> Analysis:
    half = sizes.contexts // 2
    request = AnalysisRequest.from_dict(
        {
            "model": "made-up",
            "corpus": {"id": "made-up"},
            "contexts": {"top_k": half, "sampled": half, "shown": min(half, Contexts.shown)},
        }
    )
    store, limits = Store(str(folder)), Limits().on(model.device, model.dtype, model.card)
    with store.writing("documents.parquet") as f:
        corpus = write_documents(["made up"], f, name=request.corpus, max_documents=MAX_DOCUMENTS)
    cut = limits.block_tokens, limits.shard_tokens
    return Analysis(request, corpus, model.card, store, "work", "result", "lens", *cut)


def make_texts(tokens: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    frequency = 1 / (np.arange(1, WORDS) + 2.7)
    ends = np.cumsum(frequency / frequency.sum())
    for _ in range(tokens // _DOCUMENT):
        drawn = np.searchsorted(ends, rng.random(_DOCUMENT)).clip(max=WORDS - 2) + 1
        yield " ".join(f"w{i}" for i in drawn)


class _Language:
    """Vectors of words in their windows."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.families = _unit(torch.randn(FAMILIES, WIDTH, generator=generator))
        self._words = _unit(torch.randn(WORDS, WIDTH, generator=generator))
        self._family = torch.randint(FAMILIES, (WORDS,), generator=generator)

    def vectors(self, block: Block) -> Tensor:
        """(B, S, WIDTH), unit length; the same for the same block."""
        windows, length = block.ids.shape
        generator = torch.Generator().manual_seed(int(block.rows[0]))
        around = _unit(torch.randn(windows, 1, WIDTH, generator=generator))
        noise = _unit(torch.randn(windows, length, WIDTH, generator=generator))
        own = self._words[block.ids]
        return _unit(
            0.6 * self.families[self._family[block.ids]] + 0.5 * own + 0.3 * around + 0.4 * noise
        )


class _Layer:
    """What the neurons of a layer make of vectors, or its control units."""

    def __init__(self, neurons: int, strongest: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(2)
        self._senses = torch.randint(FAMILIES, (3, neurons), generator=generator)
        strength = strongest * torch.rand(3, neurons, generator=generator)
        # A third of the neurons have one sense, a third two, a third three.
        self._strength = torch.where(
            torch.arange(3)[:, None] <= torch.arange(neurons) % 3, 0.5 * strongest + strength, 0.0
        )

    def activations(self, vectors: Tensor, families: Tensor) -> Tensor:
        """(B, S, neurons) float32: on each of its families above a threshold, and a little of both
        signs otherwise.
        """
        near = vectors @ families.T  # (B, S, FAMILIES)
        found = 0.1 * near[..., self._senses[0]]
        for senses, strength in zip(self._senses, self._strength, strict=True):
            found += (near - 0.4).relu()[..., senses] * strength
        return found


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _write_lens(analysis: Analysis, model: LoadedModel, sizes: Sizes) -> None:
    rng = np.random.default_rng(3)
    shape = sizes.neurons, LENS_TOKENS
    tokens = {
        name: rng.integers(WORDS, size=shape).astype(np.int32)
        for name in ("promoted_tokens", "suppressed_tokens")
    }
    logits = -np.sort(-rng.random(shape), axis=1).astype(np.float32)
    for layer in range(sizes.layers):
        arrays = tokens | {"promoted_logits": logits, "suppressed_logits": -logits}
        write_arrays(analysis.store, lens_file(analysis, model, layer), arrays)


def _write_bands(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    language: _Language,
    groups: Mapping[str, _Layer],
) -> None:
    """groups: by what the names of their arrays begin with, behind that of the layer."""
    peaks: dict[str, list[np.ndarray]] = {prefix: [] for prefix in groups}
    for block, _ in zip(shard_blocks(analysis, model, plan, 0), range(_CALIBRATION), strict=False):
        vectors = language.vectors(block)
        for prefix, layer in groups.items():
            activations = layer.activations(vectors, language.families)
            peaks[prefix].append(find_peaks(block, activations, "positive").numpy())
    fires = {
        f"{prefix}positive/fires": firing_threshold(np.concatenate(found))
        for prefix, found in peaks.items()
    }
    write_arrays(analysis.store, bands_file(analysis), _in_every_layer(analysis, fires))


def _in_every_layer(analysis: Analysis, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        f"{layer:03d}/{name}": array for layer in analysis.layers for name, array in arrays.items()
    }


def _write_shard(
    analysis: Analysis,
    model: LoadedModel,
    plan: Plan,
    shard: int,
    language: _Language,
    groups: Mapping[str, _Layer],
    known: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """groups: as in `_write_bands`; known: what the shards before it have found. Returns that with
    what this one has.
    """
    scans, firings = {}, {}
    bands = read_arrays(analysis.store, bands_file(analysis), "000/")
    for prefix in groups:
        scans[prefix] = new_scan(analysis, 0, "cpu", controls=prefix == CONTROLS)
        firings[prefix] = FiringSample({"positive": bands[f"{prefix}positive/fires"]}, "cpu")
        if known:
            own = {n: a for n, a in known.items() if n.startswith(CONTROLS) == bool(prefix)}
            scans[prefix].fill({n.removeprefix(prefix): a for n, a in own.items()})
    with writing_vectors(analysis.store, vectors_file(analysis.vectors, shard)) as writer:
        lengths = []
        for block in shard_blocks(analysis, model, plan, shard):
            vectors = language.vectors(block)
            for prefix, layer in groups.items():
                activations = layer.activations(vectors, language.families)
                scans[prefix].update(block, activations)
                firings[prefix].update(_random_tokens(block, plan), activations)
            _keep_vectors(
                writer, vectors[block.inside], len(reference_layers(analysis.card.layers))
            )
            lengths.append(block.lengths.numpy())
        writer.end(np.concatenate(lengths))
    kept = {
        f"{prefix}{name}": array
        for prefix, scan in scans.items()
        for name, array in (scan.arrays() | firings[prefix].arrays()).items()
    }
    write_arrays(
        analysis.store, partial_file(analysis.work, shard), _in_every_layer(analysis, kept)
    )
    return {
        f"{prefix}{name}": array
        for prefix, scan in scans.items()
        for name, array in scan.seed().items()
    }


def _random_tokens(block: Block, plan: Plan) -> Tensor:
    positions = np.arange(block.ids.shape[1])
    drawn = is_random_token(block.numbers.numpy()[:, None], positions, plan.counted_tokens)
    return (torch.from_numpy(drawn) & block.counted).flatten().nonzero().squeeze(1)


def _keep_vectors(writer: VectorWriter, vectors: Tensor, parts: int) -> None:
    """vectors: (T, WIDTH), of a block's tokens. Every reference layer has the same."""
    writer.add(RESIDUAL, (vectors * WIDTH**0.5).repeat(1, parts))
