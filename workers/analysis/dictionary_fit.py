"""How well a dictionary fits a model on texts: at its own place, and at those beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyseme.contract.errors import AnalysisError, DictionaryLoadError
from polyseme.contract.records.request import Bos, Contexts, Tokens
from polyseme.workers.analysis.corpus.plan import cut_windows, group_blocks
from polyseme.workers.analysis.corpus.windows import Window, pack, unpack
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
    own = own_reading(dictionary.to(model.device))
    _check_places(model, own)
    others = [
        reading
        for reading in other_readings(own.dictionary, model.card.layers)
        if not _missing(model, reading)
    ]
    tried = {reading: FitStatistic(reading.dictionary) for reading in (own, *others)}
    framing = frame(model.tokenizer, model.card, _choose_bos(model, dictionary))
    windows = _cut(model, dictionary, framing, texts, most)
    for block in group_blocks(windows, _BLOCK_TOKENS):
        found = _run(model, block, framing.pad, tried)
        _update(tried, found, own)
    here = tried.pop(own).compute()
    if not here.tokens:
        raise AnalysisError("the texts give no token that counts: they are blank")
    fits = {reading.name: statistic.compute() for reading, statistic in tried.items()}
    # A place of another width was not tried.
    elsewhere = {name: fit for name, fit in fits.items() if fit.tokens}
    notes = dictionary.notes
    misfits = find_misfits(here, elsewhere, notes.expected_l0, notes.most_active)
    return ModelFit(here, elsewhere, misfits)


def _check_places(model: LoadedModel, own: Reading) -> None:
    """Raises DictionaryLoadError for places that the model has not, or that are not read."""
    if own.source.before_weight:
        raise DictionaryLoadError(
            f"{own.source.hook} stands before the weight of a norm, where activations are not read"
        )
    if missing := _missing(model, own):
        raise DictionaryLoadError(
            f"{model.card.id} has no activations of {missing}; it has those of "
            f"{', '.join(_offered(model))}"
        )
    for place in (own.source, own.target):
        if place.layer >= model.card.layers:
            raise DictionaryLoadError(
                f"layer {place.layer} of {model.card.id}: it has 0 to {model.card.layers - 1}"
            )


def _missing(model: LoadedModel, reading: Reading) -> str:
    sites = dict.fromkeys(place.site for place in (reading.source, reading.target))
    return " and ".join(site for site in sites if site not in _offered(model))


def _offered(model: LoadedModel) -> tuple[str, ...]:
    """Sites that the model has units at."""
    return tuple(card.site for card in model.card.sites if card.units)


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
    model: LoadedModel, windows: Sequence[Window], pad: int, readings: Iterable[Reading]
) -> Activations:
    """What the counted tokens of some windows have at all places that are read."""
    block = Block(unpack(pack(windows)), 0, pad, model.device)
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


def _update(tried: dict[Reading, FitStatistic], found: Activations, own: Reading) -> None:
    """Raises DictionaryLoadError where its own place is of another width; others are left out."""
    for reading, statistic in tried.items():
        source = found[reading.source.site, reading.source.layer]
        target = found[reading.target.site, reading.target.layer]
        if statistic.takes(source, target):
            statistic.update(source, target)
        elif reading is own:
            raise DictionaryLoadError(
                f"{reading.name} of this model is {source.shape[1]} wide, not as the dictionary"
            )
