"""An analysis in steps that can run apart: this one scans a shard. `planning` has those before, `merging` those after.

Each writes files, whole or not. Running a step twice, anywhere, changes no result: its output depends only on its
input, but that a scan leaves out what others are known to have better of. Progress and the wish to stop come in as
plain callables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from contract.records import Corpus, ModelCard
from contract.request import AnalysisRequest, Tail
from contract.selection import resolve_layers, resolve_neurons
from contract.store import Store
from workers.analysis.background import draw_tokens
from workers.analysis.capture import Taps, level, reference_layers, run_block
from workers.analysis.encoder import LazyEncoder
from workers.analysis.firing import FiringSample
from workers.analysis.framing import frame
from workers.analysis.halving import Halving, measuring
from workers.analysis.known import begin_with_known, note_known
from workers.analysis.memory import keeping_freed_arrays, release_memory
from workers.analysis.model import LoadedModel
from workers.analysis.partial import Named, partial_file, read_arrays, write_arrays
from workers.analysis.plan import Plan, open_windows, read_plan
from workers.analysis.scan import Block, LayerScan, ListSizes
from workers.analysis.stopping import Stop, check_stop, never
from workers.analysis.vectors import RESIDUAL, VectorWriter, input_stream, vectors_file, writing_vectors
from workers.analysis.windows import read_blocks

Report = Callable[[int], None]  # tokens done so far in this step


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
    encoder: LazyEncoder = field(default_factory=LazyEncoder, compare=False)
    reused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # layers taken over from results, by job

    @property
    def layers(self) -> tuple[int, ...]:
        return resolve_layers(self.request.neurons.layers, self.card.layers, self.card.id)

    @property
    def scanned(self) -> tuple[int, ...]:
        """The layers that the model is run for: all but those taken over."""
        taken = {layer for layers in self.reused.values() for layer in layers}
        return tuple(layer for layer in self.layers if layer not in taken)

    @property
    def neurons(self) -> tuple[int, ...]:
        return resolve_neurons(self.request.neurons.indices, self.card.neurons, self.card.id)

    @property
    def is_calibrated(self) -> bool:
        """Whether the plan runs windows beforehand, to know how strongly neurons fire."""
        return bool(self.request.contexts.sampled or self.request.senses.enabled)

    @property
    def vectors(self) -> str:
        """The folder of what the scan keeps for senses."""
        return f"{self.work}/vectors"

    @property
    def projected(self) -> str:
        """The folder of what a background makes of it."""
        return f"{self.work}/projected"

    @property
    def sizes(self) -> ListSizes:
        return ListSizes.of(self.request)


def ignore_tokens(tokens: int) -> None:
    pass


def bands_file(analysis: Analysis) -> str:
    return f"{analysis.work}/bands.npz"


def scalars_file(analysis: Analysis, layer: int) -> str:
    return f"{analysis.work}/scalars/layer-{layer:03d}.npz"


def peaks_file(analysis: Analysis, layer: int) -> str:
    return f"{analysis.work}/peaks/layer-{layer:03d}.npz"


def run_selected(
    analysis: Analysis,
    model: LoadedModel,
    block: Block,
    receive: Callable[[int, Tensor], None],
    taps: Taps | None = None,
    *,
    should_stop: Stop,
) -> None:
    """Runs a block and hands on the selected neurons' activations, (B, S, N) in the model's dtype.

    Raises BlockTooLarge, and Cancelled between two layers: a block of a large model takes seconds.
    """
    chosen = analysis.neurons
    index = None if len(chosen) == analysis.card.neurons else torch.tensor(chosen, device=model.device)

    def select(layer: int, activations: Tensor) -> None:
        check_stop(should_stop)
        if index is not None:
            activations = activations.index_select(-1, index)
        receive(layer, activations.contiguous())

    mask = block.inside.to(torch.int64) if analysis.card.kind == "encoder" else None
    with measuring(block):
        run_block(model, block.ids, mask, analysis.scanned, select, taps)


def new_scan(analysis: Analysis, layer: int, device: torch.device | str) -> LayerScan:
    edges: dict[Tail, np.ndarray | None] = dict.fromkeys(analysis.request.tails)
    if analysis.request.contexts.sampled:
        found = read_arrays(analysis.store, bands_file(analysis), f"{layer:03d}/")
        edges = {tail: found[tail] for tail in edges}
    return LayerScan(len(analysis.neurons), edges, analysis.sizes, device)


class ShardScan:
    """All that is kept while a shard's blocks run through the model."""

    def __init__(
        self,
        analysis: Analysis,
        model: LoadedModel,
        plan: Plan,
        vectors: VectorWriter | None,
        should_stop: Stop = never,
    ) -> None:
        """vectors: takes what senses are made of; None when they were not asked for."""
        self._should_stop = should_stop
        self._analysis, self._model, self._vectors = analysis, model, vectors
        self._counted_tokens = plan.counted_tokens
        self.scans = {layer: new_scan(analysis, layer, model.device) for layer in analysis.scanned}
        self._firings = {} if vectors is None else {layer: self._new_firing(layer) for layer in analysis.scanned}

    def run(self, block: Block) -> None:
        sample = None if self._vectors is None else _random_tokens(block, self._counted_tokens)

        def receive(layer: int, activations: Tensor) -> None:
            self.scans[layer].update(block, activations)
            if sample is not None:
                self._firings[layer].update(sample, activations)

        taps = None if self._vectors is None else _taps(self._analysis, block, self._vectors)
        with torch.inference_mode():
            run_selected(self._analysis, self._model, block, receive, taps, should_stop=self._should_stop)

    def arrays(self) -> Iterator[Named]:
        """A layer after another, since each is made for the file."""
        for layer, scan in self.scans.items():
            kept = scan.arrays() | (self._firings[layer].arrays() if self._firings else {})
            yield from ((f"{layer:03d}/{name}", array) for name, array in kept.items())

    def _new_firing(self, layer: int) -> FiringSample:
        found = read_arrays(self._analysis.store, bands_file(self._analysis), f"{layer:03d}/")
        return FiringSample({tail: found[f"{tail}/fires"] for tail in self._analysis.request.tails}, self._model.device)


def scan_shard(
    analysis: Analysis, model: LoadedModel, shard: int, *, on_tokens: Report = ignore_tokens, should_stop: Stop = never
) -> int:
    """Runs the model over a shard's blocks and writes its partial. Returns the tokens run. Raises Cancelled."""
    halving = Halving()
    with keeping_freed_arrays():
        tokens = halving.run(lambda: _scan_blocks(analysis, model, shard, halving, on_tokens, should_stop))
    # Else what this one leaves behind would come on top of the next one's lists.
    release_memory()
    return tokens


def _scan_blocks(
    analysis: Analysis, model: LoadedModel, shard: int, halving: Halving, on_tokens: Report, should_stop: Stop
) -> int:
    plan = read_plan(analysis.store, analysis.work)
    with _vector_writer(analysis, shard) as vectors:
        scan = ShardScan(analysis, model, plan, vectors, should_stop)
        begin_with_known(analysis.store, analysis.work, shard, scan.scans)
        tokens, lengths = 0, []
        for block in shard_blocks(analysis, model, plan, shard, halving):
            check_stop(should_stop)
            scan.run(block)
            tokens += block.tokens
            lengths.append(block.windows.lengths)
            on_tokens(tokens)
        if vectors is not None:
            vectors.end(np.concatenate(lengths))
        # Whoever lost the lease is not to write beside its successor.
        check_stop(should_stop)
    write_arrays(analysis.store, partial_file(analysis.work, shard), chain(scan.arrays(), halving.arrays().items()))
    if shard + 1 < len(plan.shards):
        note_known(analysis.store, analysis.work, shard, scan.scans)
    return tokens


def shard_blocks(
    analysis: Analysis, model: LoadedModel, plan: Plan, shard: int, halving: Halving | None = None
) -> Iterator[Block]:
    """A shard's blocks, or what they are cut into, on the model's device, one at a time."""
    pad = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos).pad
    row = plan.shards[shard].first_row
    with open_windows(analysis.store, analysis.work, plan, shard) as f:
        for windows in (halving or Halving()).cut(read_blocks(f)):
            yield Block(windows, row, pad, model.device)
            row += len(windows)


def _vector_writer(analysis: Analysis, shard: int) -> AbstractContextManager[VectorWriter | None]:
    if not analysis.request.senses.enabled:
        return nullcontext()
    return writing_vectors(analysis.store, vectors_file(analysis.vectors, shard))


def _random_tokens(block: Block, counted_tokens: int) -> Tensor:
    """Where in the block, laid flat, its random tokens are. Reckoned here, as nobody is to wait for a GPU."""
    _, window, position = draw_tokens(block.windows, counted_tokens)
    return torch.from_numpy(window * block.ids.shape[1] + position).to(block.ids.device)


def _taps(analysis: Analysis, block: Block, vectors: VectorWriter) -> Taps:
    """Writes down the vectors that senses will be made of."""
    held: list[Tensor] = []
    last = reference_layers(analysis.card.layers)[-1]

    def keep_residual(layer: int, hidden: Tensor) -> None:
        held.append(level(block.at_tokens(hidden)))
        if layer == last:
            vectors.add(RESIDUAL, torch.cat(held, 1))

    def keep_input(layer: int, hidden: Tensor) -> None:
        vectors.add(input_stream(layer), block.at_tokens(hidden))

    return Taps(keep_residual, keep_input if analysis.request.senses.vectors == "neuron" else None)
