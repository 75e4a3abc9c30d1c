"""What a job would be, estimated from the size of its corpus and the model's card.

Tokenises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polyseme.contract.files.results import BINS
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.selection import resolve_layers, resolve_neurons

ASSUMED_CHARACTERS_PER_TOKEN = 4.0  # English prose under most byte-pair vocabularies
_ENTRY_BYTES = 32  # of one kept context, without what is shown of it, in float16
_SPARE = 1.25  # contexts kept to replace near-duplicates
_MOMENTS_BYTES = 256  # of one neuron


@dataclass(frozen=True)
class Estimate:
    tokens: int
    windows: int
    neurons: int  # in all layers together
    layers: int
    memory_bytes: int  # of the running statistics
    seconds: float | None  # None before any job has measured the model's speed
    documents: int
    characters: int
    characters_per_token: float
    measured: bool  # characters_per_token
    tokens_per_second: float | None
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
                "characters_per_token": self.characters_per_token,
                "characters_per_token_from": "measured" if self.measured else "assumed",
                "tokens_per_second": self.tokens_per_second,
                "depth": self.depth,
            },
        }


def estimate_job(request: AnalysisRequest, card: ModelCard, corpus: Corpus) -> Estimate:
    layers = resolve_layers(request.neurons.layers, card.layers, card.id)
    units = card.site(request.neurons.site).units
    neurons = len(layers) * len(resolve_neurons(request.neurons.indices, units, card.id))
    ratio = card.characters_per_token or ASSUMED_CHARACTERS_PER_TOKEN
    tokens = max(round(corpus.characters / ratio), 1)
    windows = _count_windows(request, tokens, corpus.documents)
    tokens += windows if _adds_bos(request, card) else 0
    if request.tokens.max_tokens is not None and tokens > request.tokens.max_tokens:
        windows = max(round(windows * request.tokens.max_tokens / tokens), 1)
        tokens = request.tokens.max_tokens
    depth = (layers[-1] + 1) / card.layers
    speed = card.tokens_per_second
    return Estimate(
        tokens=tokens,
        windows=windows,
        neurons=neurons,
        layers=len(layers),
        memory_bytes=neurons * _bytes_per_neuron(request),
        seconds=round(tokens / speed * depth, 1) if speed else None,
        documents=corpus.documents,
        characters=corpus.characters,
        characters_per_token=ratio,
        measured=card.characters_per_token is not None,
        tokens_per_second=speed,
        depth=depth,
    )


def _count_windows(request: AnalysisRequest, tokens: int, documents: int) -> int:
    """A document's last window is half full on average."""
    full = tokens / request.contexts.window
    if request.contexts.packing == "concat":
        return max(round(full), 1)
    return max(documents, round(full + documents / 2), 1)


def _adds_bos(request: AnalysisRequest, card: ModelCard) -> bool:
    return request.tokens.bos == "always" or (request.tokens.bos == "model" and card.bos == "added")


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
