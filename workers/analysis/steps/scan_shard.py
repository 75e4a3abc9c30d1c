"""The scan of a shard: its blocks run through the model, and what is kept becomes its partial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from polyseme.workers.analysis.corpus.plan import Plan, open_windows, read_plan
from polyseme.workers.analysis.corpus.windows import read_blocks
from polyseme.workers.analysis.files.arrays import Named, partial_file, read_arrays, write_arrays
from polyseme.workers.analysis.machine.memory import keeping_freed_arrays, release_memory
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never
from polyseme.workers.analysis.models.capture import Taps, level, reference_layers
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame
from polyseme.workers.analysis.scan.out_of_memory import Halving
from polyseme.workers.analysis.scan.seeding import save_seed, seed_lists
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.senses.background import draw_tokens
from polyseme.workers.analysis.senses.firing import FiringSample
from polyseme.workers.analysis.senses.vectors import (
    RESIDUAL,
    VectorWriter,
    input_stream,
    vectors_file,
    writing_vectors,
)
from polyseme.workers.analysis.steps.analysis import (
    Analysis,
    Report,
    bands_file,
    ignore_tokens,
    new_scan,
    run_selected,
)
from polyseme.workers.analysis.steps.lost_neurons import refuse_poisoned


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
        self._residual = _ResidualCheck(model.device)
        self.scans = {layer: new_scan(analysis, layer, model.device) for layer in analysis.scanned}
        self._firings = (
            {}
            if vectors is None
            else {layer: self._new_firing(layer) for layer in analysis.scanned}
        )

    def run(self, block: Block) -> None:
        sample = None if self._vectors is None else _random_tokens(block, self._counted_tokens)

        def receive(layer: int, activations: Tensor) -> None:
            self.scans[layer].update(block, activations)
            if sample is not None:
                self._firings[layer].update(sample, activations)

        taps = None
        if self._vectors is not None:
            taps = _taps(self._analysis, block, self._vectors, self._residual)
        with torch.inference_mode():
            run_selected(
                self._analysis, self._model, block, receive, taps, should_stop=self._should_stop
            )

    def refuse_poisoned(self) -> None:
        """Raises NonFiniteActivation where one neuron's cost all of a layer, or the senses."""
        found = {
            layer: scan.statistics.nonfinite.cpu().numpy().astype(bool)
            for layer, scan in self.scans.items()
        }
        refuse_poisoned(self._analysis, self._model, found, self._residual.is_finite)

    def arrays(self) -> Iterator[Named]:
        """A layer after another, since each is made for the file."""
        for layer, scan in self.scans.items():
            kept = scan.arrays() | (self._firings[layer].arrays() if self._firings else {})
            yield from ((f"{layer:03d}/{name}", array) for name, array in kept.items())

    def _new_firing(self, layer: int) -> FiringSample:
        bands = read_arrays(self._analysis.store, bands_file(self._analysis), f"{layer:03d}/")
        return FiringSample(
            {tail: bands[f"{tail}/fires"] for tail in self._analysis.request.tails},
            self._model.device,
        )


def scan_shard(
    analysis: Analysis,
    model: LoadedModel,
    shard: int,
    *,
    on_tokens: Report = ignore_tokens,
    should_stop: Stop = never,
) -> int:
    """Runs the model over a shard's blocks and writes its partial.

    Returns the tokens run. Raises Cancelled.
    """
    halving = Halving()
    with keeping_freed_arrays():
        tokens = halving.run(
            lambda: _scan_blocks(analysis, model, shard, halving, on_tokens, should_stop)
        )
    # Otherwise freed memory of this shard adds to the next one's peak.
    release_memory()
    return tokens


def _scan_blocks(
    analysis: Analysis,
    model: LoadedModel,
    shard: int,
    halving: Halving,
    on_tokens: Report,
    should_stop: Stop,
) -> int:
    plan = read_plan(analysis.store, analysis.work)
    with _vector_writer(analysis, shard) as vectors:
        scan = ShardScan(analysis, model, plan, vectors, should_stop)
        seed_lists(analysis.store, analysis.work, shard, scan.scans)
        tokens, lengths = 0, []
        for block in shard_blocks(analysis, model, plan, shard, halving):
            check_stop(should_stop)
            scan.run(block)
            tokens += block.tokens
            lengths.append(block.windows.lengths)
            on_tokens(tokens)
        scan.refuse_poisoned()
        if vectors is not None:
            vectors.end(np.concatenate(lengths))
        # Whoever lost the lease is not to write beside its successor.
        check_stop(should_stop)
    write_arrays(
        analysis.store,
        partial_file(analysis.work, shard),
        chain(scan.arrays(), halving.arrays().items()),
    )
    if shard + 1 < len(plan.shards):
        save_seed(analysis.store, analysis.work, shard, scan.scans)
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
    """Where in the block, laid flat, its random tokens are.

    Computed on the host, so nothing waits for the GPU.
    """
    _, window, position = draw_tokens(block.windows, counted_tokens)
    return torch.from_numpy(window * block.ids.shape[1] + position).to(block.ids.device)


class _ResidualCheck:
    """Whether all vectors that senses are made of were finite. Waits for a GPU only when asked."""

    def __init__(self, device: torch.device) -> None:
        self._sum = torch.zeros((), device=device)  # of numbers of about 1, so it stays finite

    def add(self, vectors: Tensor) -> None:
        self._sum += vectors.sum()

    @property
    def is_finite(self) -> bool:
        return bool(self._sum.isfinite())


def _taps(
    analysis: Analysis, block: Block, vectors: VectorWriter, residual: _ResidualCheck
) -> Taps:
    """Writes down the vectors that senses will be made of."""
    held: list[Tensor] = []
    last = reference_layers(analysis.card.layers)[-1]

    def keep_residual(layer: int, hidden: Tensor) -> None:
        held.append(level(block.at_tokens(hidden)))
        residual.add(held[-1])
        if layer == last:
            vectors.add(RESIDUAL, torch.cat(held, 1))

    def keep_input(layer: int, hidden: Tensor) -> None:
        vectors.add(input_stream(layer), block.at_tokens(hidden))

    return Taps(keep_residual, keep_input if analysis.request.senses.vectors == "neuron" else None)
