"""The scan of a shard: its blocks run through the model, and what is kept becomes its partial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.out_of_memory import Halving
from polyseme.workers.analysis.scan.seeding import save_seed, seed_lists
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.senses.background import draw_tokens
from polyseme.workers.analysis.senses.firing import FiringSample
from polyseme.workers.analysis.senses.vectors import (
    RESIDUAL,
    VectorWriter,
    vectors_file,
    writing_vectors,
)
from polyseme.workers.analysis.steps.analysis import (
    Analysis,
    Report,
    bands_file,
    ignore_tokens,
    make_controls,
    new_scan,
    prefix_of,
    run_selected,
    tap_controls,
)
from polyseme.workers.analysis.steps.lost_neurons import refuse_poisoned
from polyseme.workers.analysis.steps.sink_limits import Counting, read_limits


class _Kept:
    """All that is kept of a layer's neurons, or of its control units."""

    def __init__(
        self,
        analysis: Analysis,
        layer: int,
        device: torch.device,
        *,
        controls: bool = False,
        with_firings: bool,
    ) -> None:
        self.prefix = prefix_of(layer, controls=controls)
        self.scan = new_scan(analysis, layer, device, controls=controls)
        self._has_sinks = analysis.request.tokens.exclude_sinks is not None
        self._firings: FiringSample | None = None
        if with_firings:
            bands = read_arrays(analysis.store, bands_file(analysis), self.prefix)
            thresholds = {tail: bands[f"{tail}/fires"] for tail in analysis.request.tails}
            self._firings = FiringSample(thresholds, device)

    def update(self, block: Block, sample: Tensor | None, activations: Tensor) -> None:
        """block: as the layer counts its tokens; sample: where its random tokens are, None without
        firings.
        """
        self.scan.update(block, activations)
        if self._firings is not None and sample is not None:
            counted = block.counted if self._has_sinks else None
            self._firings.update(sample, activations, counted)

    def arrays(self) -> Iterator[Named]:
        kept = self.scan.arrays() | (self._firings.arrays() if self._firings else {})
        return ((f"{self.prefix}{name}", array) for name, array in kept.items())


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
        self._limits = read_limits(analysis)
        self._residual = _ResidualCheck(model.device)
        for_senses = vectors is not None
        self._controls = make_controls(analysis, model) if for_senses else {}
        self._neurons, self._ghosts = (
            {
                layer: _Kept(
                    analysis, layer, model.device, controls=controls, with_firings=for_senses
                )
                for layer in layers
            }
            for controls, layers in ((False, analysis.scanned), (True, tuple(self._controls)))
        )

    @property
    def scans(self) -> dict[str, LayerScan]:
        """By what the names of their arrays begin with in files."""
        return {kept.prefix: kept.scan for kept in self._all}

    def run(self, block: Block) -> None:
        sample = None if self._vectors is None else _random_tokens(block, self._counted_tokens)

        counting = Counting(self._analysis, self._model, block, self._limits)

        def receive(layer: int, activations: Tensor) -> None:
            self._neurons[layer].update(counting.at(layer), sample, activations)

        def receive_controls(layer: int, activations: Tensor) -> None:
            self._ghosts[layer].update(counting.at(layer), sample, activations)

        taps = Taps(streams=counting.tap)
        if self._vectors is not None:
            keep = _keep_residual(self._analysis, block, self._vectors, self._residual)
            taps = Taps(
                keep,
                tap_controls(self._analysis, self._model, self._controls, receive_controls),
                counting.tap,
            )
        with torch.inference_mode():
            run_selected(
                self._analysis, self._model, block, receive, taps, should_stop=self._should_stop
            )

    def refuse_poisoned(self) -> None:
        """Raises NonFiniteActivation where one neuron's cost all of a layer, or the senses."""
        found = {
            layer: kept.scan.statistics.nonfinite.cpu().numpy().astype(bool)
            for layer, kept in self._neurons.items()
        }
        refuse_poisoned(self._analysis, self._model, found, self._residual.is_finite)

    def arrays(self) -> Iterator[Named]:
        """A layer after another, since each is made for the file."""
        for kept in self._all:
            yield from kept.arrays()

    @property
    def _all(self) -> Iterator[_Kept]:
        return chain(self._neurons.values(), self._ghosts.values())


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


def _keep_residual(
    analysis: Analysis, block: Block, vectors: VectorWriter, residual: _ResidualCheck
) -> Callable[[int, Tensor], None]:
    """Writes down the vectors that senses will be made of, as `Taps.residual`."""
    held: list[Tensor] = []
    last = reference_layers(analysis.card.layers)[-1]

    def keep(layer: int, hidden: Tensor) -> None:
        held.append(level(block.at_tokens(hidden)))
        residual.add(held[-1])
        if layer == last:
            vectors.add(RESIDUAL, torch.cat(held, 1))

    return keep
