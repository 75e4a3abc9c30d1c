"""What a job would be, estimated from the size of its corpus and the model's card.

Tokenises nothing: a corpus that was planned before has its tokens from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polyseme.contract.files.results import BINS
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.planned import Planned, cut_of
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.selection import resolve_layers, resolve_neurons

ASSUMED_CHARACTERS_PER_TOKEN = 4.0  # English prose under most byte-pair vocabularies
_ENTRY_BYTES = 32  # of one kept context, without what is shown of it, in float16
_SPARE = 1.25  # contexts kept to replace near-duplicates
_MOMENTS_BYTES = 256  # of one neuron


@dataclass(frozen=True)
class Size:
    """A corpus as a request cuts it."""

    tokens: int  # what is put around a text included
    windows: int
    characters_per_token: float  # by which it was estimated, or that it has
    # planned: known from a plan of this corpus, cut alike; corpus: by the ratio of another plan of
    # it; measured: by that of another corpus; assumed
    source: Literal["planned", "corpus", "measured", "assumed"]


@dataclass(frozen=True)
class Estimate:
    tokens: int
    windows: int
    whole: Size  # before max_tokens
    neurons: int  # in all layers together
    layers: int
    memory_bytes: int  # of the running statistics
    seconds: float | None  # None before any whole scan has measured the model's speed
    documents: int
    characters: int
    tokens_per_second: float | None
    neurons_per_second: float | None
    depth: float  # 0..1, share of the layers that run

    def to_dict(self) -> dict[str, Any]:
        return {
            "object": "estimate",
            "estimate": True,
            **{
                n: getattr(self, n)
                for n in ("tokens", "windows", "neurons", "layers", "memory_bytes", "seconds")
            },
            "basis": {
                "documents": self.documents,
                "characters": self.characters,
                "characters_per_token": self.whole.characters_per_token,
                "tokens_from": self.whole.source,
                "tokens_per_second": self.tokens_per_second,
                "neurons_per_second": self.neurons_per_second,
                "depth": self.depth,
            },
        }


def estimate_job(
    request: AnalysisRequest,
    card: ModelCard,
    corpus: Corpus,
    planned: Mapping[str, Planned] | None = None,
) -> Estimate:
    """planned: what this corpus was with this model before, by how it was cut."""
    layers = resolve_layers(request.neurons.layers, card.layers, card.id)
    units = card.site(request.neurons.site).units
    neurons = len(layers) * len(resolve_neurons(request.neurons.indices, units, card.id))
    whole = _measure(request, card, corpus, planned or {})
    tokens, windows, most = whole.tokens, whole.windows, request.tokens.max_tokens
    if most is not None and tokens > most:
        tokens, windows = most, max(round(windows * most / tokens), 1)
    depth = (layers[-1] + 1) / card.layers
    return Estimate(
        tokens=tokens,
        windows=windows,
        whole=whole,
        neurons=neurons,
        layers=len(layers),
        memory_bytes=neurons * _bytes_per_neuron(request),
        seconds=_seconds(request, card, tokens * depth, neurons),
        documents=corpus.documents,
        characters=corpus.characters,
        tokens_per_second=card.tokens_per_second,
        neurons_per_second=card.neurons_per_second,
        depth=depth,
    )


def _measure(
    request: AnalysisRequest, card: ModelCard, corpus: Corpus, planned: Mapping[str, Planned]
) -> Size:
    if known := planned.get(cut_of(request)):
        ratio = corpus.characters / max(known.tokens, 1)
        return Size(known.tokens, known.windows, ratio, "planned")
    ratio, source = _ratio(card, corpus, planned)
    own = max(round(corpus.characters / ratio), 1)
    windows = _count_windows(request, own, corpus.documents)
    tokens = own + windows * card.adds_bos(request.tokens.bos)
    return Size(tokens, windows, ratio, source)


def _ratio(
    card: ModelCard, corpus: Corpus, planned: Mapping[str, Planned]
) -> tuple[float, Literal["corpus", "measured", "assumed"]]:
    """Characters a token."""
    if planned:
        fewest = min(p.tokens for p in planned.values())  # with the least around its texts
        return corpus.characters / max(fewest, 1), "corpus"
    if card.characters_per_token is not None:
        return card.characters_per_token, "measured"
    return ASSUMED_CHARACTERS_PER_TOKEN, "assumed"


def _seconds(
    request: AnalysisRequest, card: ModelCard, tokens: float, neurons: int
) -> float | None:
    """On one worker. tokens: through all of the layers, or so many as that is worth."""
    if card.tokens_per_second is None or card.neurons_per_second is None:
        return None
    merging = neurons / card.neurons_per_second if request.senses.enabled else 0.0
    return round(tokens / card.tokens_per_second + merging, 1)


def _count_windows(request: AnalysisRequest, tokens: int, documents: int) -> int:
    """A document's last window is half full on average."""
    full = tokens / request.contexts.window
    if request.contexts.packing == "concat":
        return max(round(full), 1)
    return max(documents, round(full + documents / 2), 1)


def _bytes_per_neuron(request: AnalysisRequest) -> int:
    contexts = request.contexts
    spare = _SPARE if contexts.near_duplicates == "drop" else 1
    kept = shown = 0
    for count in (contexts.top_k, contexts.sampled):
        kept += count
        if contexts.shown < count:  # then in lists of their own
            kept += contexts.shown
        shown += min(contexts.shown, count)
    entries = kept * _ENTRY_BYTES + shown * 2 * contexts.display_tokens
    return BINS * 4 + _MOMENTS_BYTES + len(request.tails) * round(spare * entries)
