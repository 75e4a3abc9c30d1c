"""An analysis in steps that can run apart: what all of them know of it.

Each step writes files, whole or not. Running a step twice, anywhere, changes no result: its output
depends only on its input, but that a scan leaves out what others are known to have better of.
Progress and the wish to stop come in as plain callables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.files.store import Store
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest, Tail
from polyseme.contract.records.selection import resolve_layers, resolve_neurons
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop
from polyseme.workers.analysis.models.capture import Tap, Taps, run_block
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.out_of_memory import measuring
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes, Sample
from polyseme.workers.analysis.scan.statistics.draws import Draws, unit_seeds
from polyseme.workers.analysis.senses.comparison import ClaimsBy
from polyseme.workers.analysis.sites.controls import Controls, CutOff, count_controls
from polyseme.workers.analysis.sites.latents import NAME as LATENTS
from polyseme.workers.analysis.sites.latents import Latents
from polyseme.workers.analysis.sites.point import Point
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES

CONTROLS = "ghosts/"  # before the names of control units' arrays

Report = Callable[[int], None]  # tokens done so far in this step


@dataclass(frozen=True)
class Analysis:
    """What is to be done, with all that decides the result.

    `work`, `result` and `lens` are folders.
    """

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
    reused: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # layers taken over from results, by job
    # What the job's units are where no site of the table has them; the card lists it, too.
    own_site: Site | None = field(default=None, compare=False)
    # Of a job over dictionaries, by layer; nothing where none is read, as in a regrouping.
    latents: Mapping[int, Latents] = field(default_factory=dict, compare=False)

    @property
    def layers(self) -> tuple[int, ...]:
        return resolve_layers(self.request.neurons.layers, self.card.layers, self.card.id)

    @property
    def scanned(self) -> tuple[int, ...]:
        """The layers that the model is run for: all but those taken over."""
        taken = {layer for layers in self.reused.values() for layer in layers}
        return tuple(layer for layer in self.layers if layer not in taken)

    @property
    def site(self) -> Site:
        return self.own_site or SITES[self.request.neurons.site]

    @property
    def neurons(self) -> tuple[int, ...]:
        units = self.card.site(self.request.neurons.site).units
        return resolve_neurons(self.request.neurons.indices, units, self.card.id)

    @property
    def controls(self) -> int:
        """The control units of each layer; 0 where there is nothing to compare."""
        has_any = self.request.senses.enabled and self.site.controls is not None
        return count_controls(self.card.layers) if has_any else 0

    @property
    def claims_by(self) -> ClaimsBy:
        """Control units of latents are as seldom active as these, so selectivity tells nothing."""
        return "coverage" if self.request.neurons.site == LATENTS else "selectivity"

    @property
    def numbers(self) -> np.ndarray:
        """(N + G,) int64, of the selected neurons and, beyond all of the layer's, of its control
        units: by these the two are told apart where chance is drawn.
        """
        units = self.card.site(self.request.neurons.site).units
        return np.concatenate([self.neurons, np.arange(units, units + self.controls)])

    @property
    def is_calibrated(self) -> bool:
        """Whether the plan runs windows beforehand, to know how strongly neurons fire, and which
        tokens are sinks.
        """
        request = self.request
        has_sinks = request.tokens.exclude_sinks is not None
        return bool(request.contexts.sampled or request.senses.enabled or has_sinks)

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
        return replace(ListSizes.of(self.request), active_only=self.site.sparse)


def ignore_tokens(tokens: int) -> None:
    pass


def bands_file(analysis: Analysis) -> str:
    return f"{analysis.work}/bands.npz"


def fits_file(analysis: Analysis) -> str:
    """Of how well the dictionaries of the scanned layers fit."""
    return f"{analysis.work}/fits.npz"


def scalars_file(analysis: Analysis, layer: int) -> str:
    return f"{analysis.work}/scalars/layer-{layer:03d}.npz"


def controls_file(analysis: Analysis, layer: int) -> str:
    """Of the scalars of a layer's control units."""
    return f"{analysis.work}/ghosts/layer-{layer:03d}.npz"


def peaks_file(analysis: Analysis, layer: int) -> str:
    return f"{analysis.work}/peaks/layer-{layer:03d}.npz"


def seals_file(analysis: Analysis, layer: int) -> str:
    """Of the seals of a layer's files in the result."""
    return f"{analysis.work}/seals/layer-{layer:03d}.npz"


def prefix_of(layer: int, *, controls: bool = False) -> str:
    """What the names of a layer's arrays begin with, or those of its control units."""
    return f"{layer:03d}/{CONTROLS}" if controls else f"{layer:03d}/"


def make_controls(analysis: Analysis, model: LoadedModel) -> dict[int, Controls]:
    """The control units of the layers that are scanned; nothing where there are none."""
    whole = make_whole_controls(analysis, model)
    if not cuts_controls(analysis):
        return whole
    return {n: CutOff(controls, _read_cuts(analysis, n, model)) for n, controls in whole.items()}


def make_whole_controls(analysis: Analysis, model: LoadedModel) -> dict[int, Controls]:
    """The same before they are cut off, where they are."""
    recipe = analysis.site.controls
    if recipe is None or not analysis.controls:
        return {}
    with torch.inference_mode():
        return {n: recipe.make(model.parts, n, analysis.controls) for n in analysis.scanned}


def cuts_controls(analysis: Analysis) -> bool:
    """Whether control units are cut off, to be as seldom active as the site's units."""
    recipe = analysis.site.controls
    return recipe is not None and recipe.as_sparse and analysis.controls > 0


def _read_cuts(analysis: Analysis, layer: int, model: LoadedModel) -> Tensor:
    prefix = prefix_of(layer, controls=True)
    cuts = read_arrays(analysis.store, bands_file(analysis), prefix)["cuts"]
    return torch.from_numpy(cuts).to(model.device)


def tap_controls(
    analysis: Analysis,
    model: LoadedModel,
    controls: Mapping[int, Controls],
    receive: Callable[[int, Tensor], None],
) -> Tap | None:
    """Hands on the control units' activations, (B, S, G)."""
    if not controls:
        return None
    points = analysis.site.control_points(model.parts, controls)
    return Tap(points, lambda layer, hidden: receive(layer, controls[layer](hidden)))


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
    chosen, units = analysis.neurons, analysis.card.site(analysis.site.name).units
    index = None if len(chosen) == units else torch.tensor(chosen, device=model.device)

    def select(layer: int, activations: Tensor) -> None:
        check_stop(should_stop)
        if index is not None:
            activations = activations.index_select(-1, index)
        receive(layer, activations.contiguous())

    run_points(
        analysis, model, block, analysis.site.points(model.parts, analysis.scanned), select, taps
    )


def run_points(
    analysis: Analysis,
    model: LoadedModel,
    block: Block,
    points: Mapping[int, Point],
    receive: Callable[[int, Tensor], None],
    taps: Taps | None = None,
) -> None:
    """Runs a block and hands on what stands at some points, (B, S, D). Raises BlockTooLarge."""
    mask = block.inside.to(torch.int64) if analysis.card.kind == "encoder" else None
    with measuring(block):
        run_block(model, block.ids, mask, points, receive, taps)


def new_scan(
    analysis: Analysis, layer: int, device: torch.device | str, *, controls: bool = False
) -> LayerScan:
    """Of a layer's selected neurons, or of its control units."""
    units = np.arange(analysis.controls) if controls else np.array(analysis.neurons)
    samples = _read_samples(analysis, layer, units, controls=controls)
    return LayerScan(len(units), samples, analysis.sizes, device, sparse=analysis.site.sparse)


def _read_samples(
    analysis: Analysis, layer: int, units: np.ndarray, *, controls: bool
) -> dict[Tail, Sample]:
    """How contexts of some units of a layer are sampled, of each tail. units: (N,) their
    numbers.
    """
    contexts, tails = analysis.request.contexts, analysis.request.tails
    if not contexts.sampled:
        return dict.fromkeys(tails)
    prefix = prefix_of(layer, controls=controls)
    bands = read_arrays(analysis.store, bands_file(analysis), prefix)
    if contexts.sampling != "activation":
        return {tail: bands[tail] for tail in tails}
    return {
        tail: Draws(unit_seeds(layer, units, tail, int(controls)), bands[f"{tail}/fires"])
        for tail in tails
    }
