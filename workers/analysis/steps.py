"""An analysis in steps that can run apart: plan, scan a shard, merge a layer, close. Each writes files, whole or not.

A step's output depends only on its input, so running one twice, anywhere, changes nothing. Progress and the wish to
stop come in as plain callables.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
import torch
import transformers
from torch import Tensor

from contract import __version__
from contract.errors import Cancelled
from contract.records import Corpus, ModelCard
from contract.request import AnalysisRequest, Tail
from contract.results import FORMAT, MANIFEST
from contract.selection import resolve_layers, resolve_neurons
from contract.store import Store
from workers.analysis.bands import inner_edges
from workers.analysis.capture import run_block
from workers.analysis.contexts import build_table, choose_contexts, join_tables, near_tokens, rank_candidates
from workers.analysis.framing import Framing, frame, tokenize
from workers.analysis.lens import Lens, logit_lens
from workers.analysis.memory import release_memory
from workers.analysis.model import LoadedModel
from workers.analysis.partial import partial_file, read_arrays, write_arrays
from workers.analysis.peak_tokens import count_peak_tokens
from workers.analysis.plan import Plan, cut_windows, group_blocks, read_plan, windows_file, write_plan
from workers.analysis.result import (
    LayerResult,
    layer_reports,
    layer_scalars,
    read_scalars,
    write_json,
    write_neurons,
    write_reports,
    write_scalars,
    write_summary,
    write_vocabulary,
)
from workers.analysis.scan import Block, LayerScan, ListSizes, find_extremes
from workers.analysis.summary import summarise
from workers.analysis.windows import Windows, pack, read_blocks, take_rows, unpack

LENS_TOKENS = 10

Report = Callable[[int], None]  # tokens done so far in this step
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Analysis:
    """What is to be done, with all that decides the result. `work`, `result` and `lens` are folders."""

    request: AnalysisRequest
    corpus: Corpus
    card: ModelCard
    store: Store
    work: str
    result: str
    lens: str
    block_tokens: int
    shard_tokens: int

    @property
    def layers(self) -> tuple[int, ...]:
        return resolve_layers(self.request.neurons.layers, self.card.layers, self.card.id)

    @property
    def neurons(self) -> tuple[int, ...]:
        return resolve_neurons(self.request.neurons.indices, self.card.neurons, self.card.id)

    @property
    def sizes(self) -> ListSizes:
        return ListSizes.of(self.request)


def _ignore(tokens: int) -> None:
    pass


def _never() -> bool:
    return False


def plan_analysis(
    analysis: Analysis,
    model: LoadedModel,
    texts: Iterable[str],
    *,
    on_tokens: Report = _ignore,
    should_stop: Stop = _never,
) -> Plan:
    """Cuts the corpus into windows, blocks and shards, and fixes the sampling bands."""
    request = analysis.request
    framing = frame(model.tokenizer, analysis.card, request.tokens.bos)
    windows = cut_windows(
        _until(texts, should_stop),
        lambda batch: tokenize(model.tokenizer, batch),
        framing,
        request.contexts,
        request.tokens,
    )
    plan, sample = write_plan(
        analysis.store,
        analysis.work,
        windows,
        block_tokens=analysis.block_tokens,
        shard_tokens=analysis.shard_tokens,
        on_tokens=on_tokens,
    )
    if request.contexts.sampled:
        batches = (unpack(pack(block)) for block in group_blocks(sample, analysis.block_tokens))
        peaks = _calibration_peaks(analysis, model, framing, batches, should_stop)
        write_arrays(analysis.store, f"{analysis.work}/bands.npz", _edges(analysis, peaks))
    return plan


def _until(texts: Iterable[str], should_stop: Stop) -> Iterator[str]:
    for text in texts:
        if should_stop():
            raise Cancelled
        yield text


def _calibration_peaks(
    analysis: Analysis, model: LoadedModel, framing: Framing, blocks: Iterable[Windows], should_stop: Stop
) -> dict[str, list[np.ndarray]]:
    """The peaks of every calibration window by "layer/tail", (B, N) a block."""
    peaks: dict[str, list[np.ndarray]] = {}
    for windows in blocks:
        if should_stop():
            raise Cancelled
        block = Block(windows, 0, framing.pad, model.device)

        def receive(layer: int, activations: Tensor, block: Block = block) -> None:
            found = find_extremes(block, activations)
            for tail in analysis.request.tails:
                peak = found.high if tail == "positive" else -found.low
                peaks.setdefault(f"{layer:03d}/{tail}", []).append(peak.cpu().numpy())

        _run(analysis, model, block, receive)
    return peaks


def _edges(analysis: Analysis, peaks: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    contexts = analysis.request.contexts
    return {
        name: inner_edges(np.concatenate(found), contexts.bands, contexts.sampling) for name, found in peaks.items()
    }


def _run(analysis: Analysis, model: LoadedModel, block: Block, receive: Callable[[int, Tensor], None]) -> None:
    """Runs a block and hands on the selected neurons' activations, (B, S, N) float32."""
    chosen = analysis.neurons
    index = None if len(chosen) == analysis.card.neurons else torch.tensor(chosen, device=model.device)

    def select(layer: int, activations: Tensor) -> None:
        if index is not None:
            activations = activations.index_select(-1, index)
        receive(layer, activations.float().contiguous())

    mask = block.inside.to(torch.int64) if analysis.card.kind == "encoder" else None
    run_block(model, block.ids, mask, analysis.layers, select)


def _new_scan(analysis: Analysis, layer: int, device: torch.device | str) -> LayerScan:
    edges: dict[Tail, np.ndarray | None] = dict.fromkeys(analysis.request.tails)
    if analysis.request.contexts.sampled:
        found = read_arrays(analysis.store, f"{analysis.work}/bands.npz", f"{layer:03d}/")
        edges = {tail: found[tail] for tail in edges}
    return LayerScan(len(analysis.neurons), edges, analysis.sizes, device)


def scan_shard(
    analysis: Analysis, model: LoadedModel, shard: int, *, on_tokens: Report = _ignore, should_stop: Stop = _never
) -> int:
    """Runs the model over a shard's blocks and writes its partial. Returns the tokens run. Raises Cancelled."""
    tokens = _scan_blocks(analysis, model, shard, on_tokens, should_stop)
    # Else what this one leaves behind would come on top of the next one's lists.
    release_memory()
    return tokens


def _scan_blocks(analysis: Analysis, model: LoadedModel, shard: int, on_tokens: Report, should_stop: Stop) -> int:
    planned = read_plan(analysis.store, analysis.work).shards[shard]
    scans = {layer: _new_scan(analysis, layer, model.device) for layer in analysis.layers}
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    row, tokens = planned.first_row, 0
    with analysis.store.open(windows_file(analysis.work, shard)) as f:
        for windows in read_blocks(f):
            if should_stop():
                raise Cancelled
            block = Block(windows, row, pad, model.device)

            def receive(layer: int, activations: Tensor, block: Block = block) -> None:
                scans[layer].update(block, activations)

            with torch.inference_mode():
                _run(analysis, model, block, receive)
            row += len(windows)
            tokens += block.tokens
            on_tokens(tokens)
    arrays = {f"{layer:03d}/{n}": a for layer, scan in scans.items() for n, a in scan.arrays().items()}
    write_arrays(analysis.store, partial_file(analysis.work, shard), arrays)
    return tokens


def merge_layer(analysis: Analysis, model: LoadedModel, layer: int) -> None:
    """Puts the partials of one layer together and writes its reports."""
    plan = read_plan(analysis.store, analysis.work)
    with torch.inference_mode():
        scan = _new_scan(analysis, layer, "cpu")
        for shard in range(len(plan.shards)):
            scan.merge(read_arrays(analysis.store, partial_file(analysis.work, shard), f"{layer:03d}/"))
        result = _layer_result(analysis, model, plan, layer, scan)
    scalars = layer_scalars(result)
    write_reports(analysis.store, analysis.result, layer, layer_reports(result, scalars))
    write_scalars(analysis.store, _scalars_file(analysis, layer), scalars)


def _scalars_file(analysis: Analysis, layer: int) -> str:
    return f"{analysis.work}/scalars/layer-{layer:03d}.parquet"


def _layer_result(analysis: Analysis, model: LoadedModel, plan: Plan, layer: int, scan: LayerScan) -> LayerResult:
    contexts, neurons = analysis.request.contexts, np.array(analysis.neurons)
    candidates = {tail: rank_candidates(tail_scan) for tail, tail_scan in scan.tails.items()}
    rows = np.unique(np.concatenate([c.row[c.held] for c in candidates.values()]))
    windows = _take_windows(analysis, plan, rows)
    choices = {t: choose_contexts(c, near_tokens(c, windows, rows), contexts) for t, c in candidates.items()}
    tables = [build_table(t, contexts.sampling, c, choices[t], windows, rows) for t, c in candidates.items()]
    table, offsets = join_tables(tables, len(neurons))
    return LayerResult(
        layer=layer,
        neurons=neurons,
        hook=analysis.card.hooks.format(layer=layer),
        scan=scan,
        contexts=table,
        context_offsets=offsets,
        near_duplicates=choices["positive"].near_duplicates,
        peak_tokens=count_peak_tokens(table, len(neurons)),
        lens=_lens(analysis, model, layer),
        vocabulary=model.vocabulary,
    )


def _take_windows(analysis: Analysis, plan: Plan, rows: np.ndarray) -> Windows:
    """The windows of the given rows (ascending), read from their shards' files."""
    found = []
    for number, shard in enumerate(plan.shards):
        low, high = np.searchsorted(rows, [shard.first_row, shard.first_row + shard.rows])
        if low < high:
            with analysis.store.open(windows_file(analysis.work, number)) as f:
                found.append(take_rows(f, rows[low:high] - shard.first_row))
    return unpack(pa.concat_tables(found).combine_chunks().to_batches()[0])


def _lens(analysis: Analysis, model: LoadedModel, layer: int) -> Lens | None:
    """What the selected neurons promote and suppress, from the store if it is there; None for encoders."""
    path = f"{analysis.lens}/{model.weights_sha256}/layer-{layer:03d}-{LENS_TOKENS}.npz"
    if analysis.store.exists(path):
        found = Lens(**read_arrays(analysis.store, path))
    else:
        computed = logit_lens(model, layer, LENS_TOKENS)
        if computed is None:
            return None
        found = computed
        write_arrays(analysis.store, path, asdict(found))
    return Lens(**{name: array[list(analysis.neurons)] for name, array in asdict(found).items()})


def close_analysis(analysis: Analysis, model: LoadedModel) -> None:
    """Joins the layers and writes what describes the whole. Afterwards the work folder is of no use."""
    plan = read_plan(analysis.store, analysis.work)
    layers = [read_scalars(analysis.store, _scalars_file(analysis, layer)) for layer in analysis.layers]
    neurons = write_neurons(analysis.store, analysis.result, layers)
    write_vocabulary(analysis.store, analysis.result, model.vocabulary)
    write_summary(analysis.store, analysis.result, summarise(neurons, plan))
    write_json(analysis.store, f"{analysis.result}/{MANIFEST}", describe_analysis(analysis, model, plan))


def describe_analysis(analysis: Analysis, model: LoadedModel, plan: Plan) -> dict[str, Any]:
    """The manifest: all that decides the result, and nothing that does not, such as times or the number of shards."""
    return {
        "format": FORMAT,
        "model": {
            "id": analysis.card.id,
            "source": _portable(analysis.card.source),
            "family": analysis.card.family,
            "weights_sha256": model.weights_sha256,
            "tokenizer_sha256": model.tokenizer_sha256,
        },
        "corpus": {k: v for k, v in asdict(analysis.corpus).items() if k != "created_at"},
        "request": {k: v for k, v in analysis.request.to_dict().items() if k not in ("metadata", "priority")},
        "layers": list(analysis.layers),
        "neurons_per_layer": len(analysis.neurons),
        "plan": {k: v for k, v in asdict(plan).items() if k != "shards"},
        "block_tokens": analysis.block_tokens,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
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


def _portable(source: str) -> str:
    """Without the folder, which says nothing about the model and differs between machines."""
    kind, _, location = source.partition(":")
    return source if kind == "hub" else f"{kind}:{Path(location).name}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()
