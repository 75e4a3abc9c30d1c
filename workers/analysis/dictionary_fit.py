"""How well a dictionary fits a model on texts: at its own place, and at those beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polyseme.contract.errors import AnalysisError, DictionaryLoadError
from polyseme.contract.records.request import Bos, Contexts, Tokens
from polyseme.workers.analysis.corpus.plan import cut_windows, group_blocks
from polyseme.workers.analysis.corpus.windows import Window, Windows, pack, unpack
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary, Place
from polyseme.workers.analysis.dictionaries.fit import Fit, FitStatistic, Misfit, find_misfits
from polyseme.workers.analysis.dictionaries.neighbours import (
    Reading,
    other_readings,
    own_reading,
)
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import Framing, frame, tokenize
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.sites.latents import Latents, fit_to_model
from polyseme.workers.analysis.sites.table import SITES

MOST_TOKENS = 20_000  # of the texts, from their start
_WINDOW = 128  # tokens, where the dictionary's files do not say
_BLOCK_TOKENS = 512  # whose latents are in memory at once

Activations = dict[tuple[str, int], Tensor]  # by site and layer: (T, D)


@dataclass(frozen=True)
class ModelFit:
    """Of one dictionary on a model and texts."""

    here: Fit
    elsewhere: dict[str, Fit]  # by hook
    misfits: tuple[Misfit, ...]  # none where all is well


@torch.inference_mode()
def measure_on_model(
    model: LoadedModel, dictionary: Dictionary, texts: Iterable[str], most: int = MOST_TOKENS
) -> ModelFit:
    """Special tokens and the first one of each window do not count: what stands there is unlike
    all the rest, and often far larger.

    most: tokens. Raises DictionaryLoadError where it cannot be measured, AnalysisError for texts
    without tokens.
    """
    latents = fit_to_model("", dictionary.to(model.device), model.parts)
    framing = frame(model.tokenizer, model.card, _choose_bos(model, dictionary))
    windows = _cut(model, dictionary, framing, texts, most)
    packed = (unpack(pack(block)) for block in group_blocks(windows, _BLOCK_TOKENS))
    fit = measure_on_windows(model, latents, packed, framing.pad)
    if not fit.here.tokens:
        raise AnalysisError("the texts give no token that counts: they are blank")
    return fit


@torch.inference_mode()
def measure_on_windows(
    model: LoadedModel, latents: Latents, blocks: Iterable[Windows], pad: int
) -> ModelFit:
    """Over their counted tokens."""
    own = own_reading(latents.dictionary)
    others = other_readings(own.dictionary, model.card.layers)
    readings = (own, *(reading for reading in others if _is_there(model, reading)))
    tried = {reading: FitStatistic(reading.dictionary) for reading in readings}
    for block in blocks:
        found = _run(model, block, pad, tried)
        read = {place: latents.read(place[0], values) for place, values in found.items()}
        _update(tried, read)
    here = tried.pop(own).compute()
    fits = {reading.name: statistic.compute() for reading, statistic in tried.items()}
    # A place of another width was not tried.
    elsewhere = {name: fit for name, fit in fits.items() if fit.tokens}
    notes = latents.dictionary.notes
    misfits = find_misfits(here, elsewhere, notes.expected_l0, notes.most_active)
    return ModelFit(here, elsewhere, misfits if here.tokens else ())


def _is_there(model: LoadedModel, reading: Reading) -> bool:
    """Whether the model has activations of both its places."""
    offered = {card.site for card in model.card.sites if card.units}
    return {reading.source.site, reading.target.site} <= offered


def _choose_bos(model: LoadedModel, dictionary: Dictionary) -> Bos:
    """As the dictionary was trained, where its files say so and the model can."""
    wanted = dictionary.notes.prepend_bos
    if wanted is None or (wanted and model.card.bos == "none"):
        return "model"
    return "always" if wanted else "never"


def _cut(
    model: LoadedModel,
    dictionary: Dictionary,
    framing: Framing,
    texts: Iterable[str],
    most: int,
) -> Iterator[Window]:
    window = dictionary.notes.context_size or _WINDOW
    contexts = Contexts(window=min(window, model.card.max_positions or window))
    tokens = Tokens(exclude_positions=1, max_tokens=most)
    return cut_windows(
        texts, lambda batch: tokenize(model.tokenizer, batch), framing, contexts, tokens
    )


def _run(
    model: LoadedModel, windows: Windows, pad: int, readings: Iterable[Reading]
) -> Activations:
    """What the counted tokens of some windows have at all places that are read."""
    block = Block(windows, 0, pad, model.device)
    mask = block.inside.long() if model.card.kind == "encoder" else None
    found: Activations = {}
    for site, layers in _group_places(readings).items():

        def receive(layer: int, values: Tensor, site: str = site) -> None:
            found[site, layer] = values[block.counted].float()

        points = SITES[site].points(model.parts, layers)
        run_block(model, block.ids, mask, points, receive)
    return found


def _group_places(readings: Iterable[Reading]) -> dict[str, list[int]]:
    """The layers of each site, ascending."""
    places: set[Place] = {p for reading in readings for p in (reading.source, reading.target)}
    sites = dict.fromkeys(place.site for place in places)
    return {site: sorted({place.layer for place in places if place.site == site}) for site in sites}


def _update(tried: dict[Reading, FitStatistic], found: Activations) -> None:
    """Raises DictionaryLoadError where its own target is of another width; other places that are
    are left out.
    """
    for number, (reading, statistic) in enumerate(tried.items()):
        source = found[reading.source.site, reading.source.layer]
        target = found[reading.target.site, reading.target.layer]
        if statistic.takes(source, target):
            statistic.update(source, target)
        elif not number:
            raise DictionaryLoadError(
                f"{reading.name} of this model is {target.shape[1]} wide, not as what the "
                f"dictionary decodes to"
            )
