"""What is known of a model before its weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from polyseme.contract.errors import UnknownSite
from polyseme.contract.names import DEFAULT_QUEUE
from polyseme.contract.records.request import AnalysisRequest, Bos, Tails


@dataclass(frozen=True)
class SiteCard:
    """A place of the model whose units can be analysed."""

    site: str  # as requests spell it
    units: int  # of a layer
    hook: str  # TransformerLens' name, with {layer}: "blocks.{layer}.mlp.hook_post"
    signed: bool  # negative activations mean something
    why_not: str | None = None  # why this model has none of it; then `units` is 0
    head_size: int | None = None  # units that lie side by side in one head; None without heads

    @property
    def has_two_tails(self) -> bool:
        """Whether `contexts.tails` auto is both. Of MLP neurons it is what is asked for mostly, the
        positive one.
        """
        return self.signed and self.site != "mlp"


@dataclass(frozen=True)
class ModelCard:
    """What a worker found out about a model in the catalogue without loading its weights."""

    id: str
    source: str  # hub:org/name@revision, path:…, gguf:…
    family: str  # transformers' model_type
    kind: Literal["decoder", "encoder"]
    layers: int
    neurons: int  # of a layer's MLP
    gated: bool  # the MLP computes act(gate) * up
    hidden_size: int
    vocabulary: int
    max_positions: int | None  # tokens a window may have; None when the model sets no limit
    bos: Literal["added", "available", "none"]  # added: its tokenizer puts one before every text
    separator: bool  # it has a token that ends a document, so `concat` packing is possible
    sites: tuple[SiteCard, ...]  # in the order of the workers' table; none when there is an error
    # Of the last whole scan: all neurons of all layers, of enough text. By one worker's units.
    tokens_per_second: float | None = None  # of what comes before the merges
    neurons_per_second: float | None = None  # of the merges
    # of the last corpus that was planned whole and not small; what is put around a text left out
    characters_per_token: float | None = None
    error: str | None = None  # why it cannot be analysed, when it cannot
    queue: str = DEFAULT_QUEUE  # where units of its jobs wait

    def site(self, name: str) -> SiteCard:
        """Raises UnknownSite."""
        known = ", ".join(site.site for site in self.sites if site.why_not is None)
        for site in self.sites:
            if site.site == name and site.why_not is None:
                return site
            if site.site == name:
                reason = f"{site.why_not}. It has {known}"
                raise UnknownSite(f"site {name} of {self.id}: {reason}", pointer="/neurons/site")
        raise UnknownSite(f"site {name!r} of {self.id}: it has {known}", pointer="/neurons/site")

    def with_site(self, site: SiteCard) -> ModelCard:
        """With units beyond its own: directions that a job brings, or a dictionary's latents."""
        others = tuple(known for known in self.sites if known.site != site.site)
        return replace(self, sites=(*others, site))

    def settle(self, request: AnalysisRequest) -> AnalysisRequest:
        """With what `auto` means for its site. Raises UnknownSite."""
        if request.contexts.tails != "auto":
            return request
        tails: Tails = "both" if self.site(request.neurons.site).has_two_tails else "positive"
        return replace(request, contexts=replace(request.contexts, tails=tails))

    def adds_bos(self, bos: Bos) -> bool:
        """Whether a window has a first token that is not of the text. bos: as in a request."""
        return bos == "always" or (bos == "model" and self.bos == "added")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        data: Mapping[str, Any] = json.loads(text)
        return cls(**{**data, "sites": tuple(SiteCard(**site) for site in data["sites"])})
