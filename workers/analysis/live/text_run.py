"""A text through a model: what some neurons do at each of its tokens, and the vectors that senses
are made of.

Knows models; what the activations mean is said elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.errors import AnalysisError, Cancelled
from polyseme.contract.records.job import ActivationsRequest
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.corpus.plan import cut_windows, group_blocks
from polyseme.workers.analysis.corpus.windows import Window, Windows, pack, unpack
from polyseme.workers.analysis.models.capture import Tap, Taps, level, reference_layers, run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import Framing, frame, tokenize
from polyseme.workers.analysis.scan.sinks import find_sinks, measure_norms
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.sites.site import Site

Target = tuple[int, int]  # layer, neuron


@dataclass(frozen=True, eq=False)
class Run:
    """What the model made of the text. T tokens, in their order, special ones included."""

    windows: Windows
    special: np.ndarray  # (T,) bool: put around the text, not part of it
    activations: Mapping[Target, np.ndarray]  # (T,) float32, not all of them finite
    residual: np.ndarray  # (T, K * D) float16, of K reference layers, as vectors are stored
    sinks: Mapping[int, np.ndarray]  # (T,) bool, of the layers where sinks do not count

    def counted(self, layer: int) -> np.ndarray:
        """(T,) bool: the tokens that count at a layer."""
        sinks = self.sinks.get(layer)
        return self.windows.counted if sinks is None else self.windows.counted & ~sinks


def run_text(
    model: LoadedModel,
    site: Site,
    analysed: AnalysisRequest,
    request: ActivationsRequest,
    limits: Mapping[int, float],
    block_tokens: int,
    should_stop: Callable[[], bool],
) -> Run:
    """The text is cut as one document of the analysis, in windows of its size and with its special
    tokens.

    site: that of the neurons; limits: by layer, of the residual stream's length, beyond which a
    token is a sink.
    """
    framing = frame(model.tokenizer, model.card, analysed.tokens.bos)
    windows = _cut(model, analysed, framing, request.text)
    if not windows:
        raise AnalysisError(
            "the text gives no token that counts: it is blank, or every position is excluded"
        )
    offsets = np.concatenate([[0], np.cumsum([len(w) for w in windows])])
    kept: dict[Target, np.ndarray] = {t: np.zeros(offsets[-1], np.float32) for t in request.neurons}
    layers = {layer for layer, _ in request.neurons} & limits.keys()
    sinks = {layer: np.zeros(offsets[-1], bool) for layer in layers}
    references = reference_layers(model.card.layers)
    residual = np.zeros((offsets[-1], len(references), model.card.hidden_size), np.float16)
    for block in group_blocks(windows, block_tokens):
        if should_stop():
            raise Cancelled
        _run_block(model, site, block, framing.pad, offsets, kept, residual, limits, sinks)
    joined = unpack(pack(windows))
    special = np.concatenate([framing.around(len(w)) for w in windows])
    return Run(joined, special, kept, residual.reshape(len(residual), -1), sinks)


def _cut(
    model: LoadedModel, analysed: AnalysisRequest, framing: Framing, text: str
) -> list[Window]:
    contexts, tokens = (
        replace(analysed.contexts, packing="document"),
        replace(analysed.tokens, max_tokens=None),
    )
    return list(
        cut_windows(
            [text], lambda batch: tokenize(model.tokenizer, batch), framing, contexts, tokens
        )
    )


def _run_block(
    model: LoadedModel,
    site: Site,
    windows: Sequence[Window],
    pad: int,
    offsets: np.ndarray,
    kept: Mapping[Target, np.ndarray],
    residual: np.ndarray,
    limits: Mapping[int, float],
    sinks: Mapping[int, np.ndarray],
) -> None:
    """Fills in what these windows give. offsets: of all windows in the text's tokens; residual: (T,
    K, D); sinks: (T,) bool, by layer, by the limits.
    """
    block = Block(unpack(pack(windows)), 0, pad, model.device)
    references = reference_layers(model.card.layers)
    at = np.concatenate([np.arange(offsets[w.number], offsets[w.number + 1]) for w in windows])
    wanted: dict[int, list[int]] = defaultdict(list)
    for layer, neuron in kept:
        wanted[layer].append(neuron)

    def receive(layer: int, activations: Tensor) -> None:
        index = torch.tensor(wanted[layer], device=activations.device)
        values = activations.index_select(-1, index)[block.inside].float().cpu().numpy()
        for neuron, column in zip(wanted[layer], values.T, strict=True):
            kept[layer, neuron][at] = column

    def keep(layer: int, hidden: Tensor) -> None:
        residual[at, references.index(layer)] = level(hidden[block.inside]).cpu().numpy()

    def note_sinks(layer: int, hidden: Tensor) -> None:
        found = find_sinks(measure_norms(hidden), limits[layer])
        sinks[layer][at] = found[block.inside].cpu().numpy()

    mask = block.inside.to(torch.int64) if model.card.kind == "encoder" else None
    points = site.points(model.parts, wanted)
    streams = Tap(site.stream_points(model.parts, sinks), note_sinks)
    run_block(model, block.ids, mask, points, receive, Taps(residual=keep, streams=streams))
