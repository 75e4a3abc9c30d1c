"""An analysis request after its defaults.

The service checks what clients send; this is what everybody reads.

`to_dict` and `from_dict` are each other's inverse: the dict is what goes on the wire, to the board
and into a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from polyseme.contract.plurals import counted
from polyseme.contract.records.alpha import same_at_of
from polyseme.contract.records.selection import Selection

Packing = Literal["document", "concat"]
Sampling = Literal["activation", "interval", "quantile"]
Tails = Literal["auto", "positive", "both"]
Bos = Literal["model", "always", "never"]
Priority = Literal["low", "normal", "high"]
Tail = Literal["positive", "negative"]
Vectors = Literal["residual", "window"]


@dataclass(frozen=True)
class Neurons:
    site: str = "mlp"  # one that the model's card lists; mlp: blocks.L.mlp.hook_post
    layers: Selection = "all"
    indices: Selection = "all"  # the same in every chosen layer
    vectors: str | None = None  # the id of uploaded directions, of site "vectors"
    dictionary: tuple[str, ...] | None = None  # ids, one a layer, of site "dictionary"


@dataclass(frozen=True)
class Contexts:
    top_k: int = 60  # contexts of the largest activations kept, a tail
    # contexts sampled from what fires, a tail; with bands a multiple of them, or 0
    sampled: int = 60
    # activation: by activation, anew for each unit; interval: from bands of equal width; quantile:
    # of equal count
    sampling: Sampling = "activation"
    bands: int = 5  # of interval and quantile
    # of either kind, a tail: how many are kept with their text; the others with their place
    shown: int = 20
    window: int = 128  # tokens
    # document: windows never cross documents; concat: documents joined by the separator
    packing: Packing = "document"
    # contexts one document may give to one list; None is no limit
    per_document: Literal[1] | None = 1
    # auto: positive of MLP neurons, both of other units that have two; settled when a job is taken
    tails: Tails = "auto"
    near_duplicates: Literal["drop", "keep"] = "drop"
    display_tokens: int = 32  # tokens around the peak returned with a context

    @property
    def sample_lists(self) -> int:
        """Lists that a unit's sample of a tail is kept in, one a band."""
        return 1 if self.sampling == "activation" else self.bands

    def explain_few(self) -> str:
        """Why a default `top_k` was lowered to the documents that there are."""
        return (
            f"contexts.top_k is {self.top_k} instead of {Contexts.top_k}: the corpus has "
            f"{counted(self.top_k, 'document')}, and each gives one context at most"
        )


@dataclass(frozen=True)
class Tokens:
    bos: Bos = "model"  # model: what the model's own tokenizer does
    exclude_special: bool = True  # special tokens count neither as peaks nor in any statistic
    exclude_positions: int = 0  # the first positions of every window, likewise
    # tokens whose residual stream is longer than so many times the median at the unit's layer,
    # likewise; None for none. From 2
    exclude_sinks: float | None = None
    max_tokens: int | None = None  # stop planning windows once this many tokens are planned


@dataclass(frozen=True)
class Senses:
    enabled: bool = True
    # mean chance of the same meaning from which two groups are one sense
    same_at: float = 0.35
    min_contexts: int = 4  # of a sense, and no less than a twentieth of the neuron's contexts
    vectors: Vectors = "residual"  # what is grouped: see docs/measures.md


@dataclass(frozen=True)
class AnalysisRequest:
    model: str
    corpus: str  # a corpus id
    neurons: Neurons = field(default_factory=Neurons)
    contexts: Contexts = field(default_factory=Contexts)
    tokens: Tokens = field(default_factory=Tokens)
    senses: Senses = field(default_factory=Senses)
    # the job whose scan is grouped anew; None for a job with a scan of its own
    source_job: str | None = None
    # whether layers that an earlier job scanned alike are taken over from its result
    reuse: bool = True
    priority: Priority = "normal"
    # seconds after its creation by which the job ends or fails; None for no limit
    deadline_s: float | None = None
    webhook: str | None = None  # the URL told of the job's end
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def tails(self) -> tuple[Tail, ...]:
        return ("positive", "negative") if self.contexts.tails == "both" else ("positive",)

    def to_dict(self) -> dict[str, Any]:
        webhook = None if self.webhook is None else {"url": self.webhook}
        return asdict(self) | {
            "corpus": {"id": self.corpus},
            "webhook": webhook,
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnalysisRequest:
        """Reads what `to_dict` wrote, and fills in defaults for what is left out.

        Checks no value.
        """
        return cls(
            model=data["model"],
            corpus=data["corpus"]["id"],
            neurons=Neurons(**_tupled(data.get("neurons", {}))),
            contexts=Contexts(**_fill_contexts(data.get("contexts", {}))),
            tokens=Tokens(**data.get("tokens", {})),
            senses=Senses(**translate_senses(data.get("senses", {}))),
            source_job=data.get("source_job"),
            reuse=data.get("reuse", True),
            priority=data.get("priority", "normal"),
            deadline_s=data.get("deadline_s"),
            webhook=(data.get("webhook") or {}).get("url"),
            metadata=dict(data.get("metadata", {})),
        )

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> AnalysisRequest:
        """The same of a job's record, without options that only a newer service knows.

        What an older one grouped by vectors of the neuron's own reads as `residual`.
        """
        senses = translate_senses(data.get("senses", {}))
        senses |= {"vectors": "residual"} if senses.get("vectors") == "neuron" else {}
        parts = {"neurons": Neurons, "contexts": Contexts, "tokens": Tokens, "senses": Senses}
        known = {
            name: _keep_known(kind, senses if kind is Senses else data.get(name, {}))
            for name, kind in parts.items()
        }
        return cls.from_dict({**data, **known})


def _fill_contexts(data: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from options that were sent for some that were not.

    Bands are those of `interval`; and all is shown that was asked for before there was `shown`.
    """
    filled = dict(data)
    if "bands" in data:
        filled.setdefault("sampling", "interval")
    if "shown" not in data:
        sent = [data[name] for name in ("top_k", "sampled") if name in data]
        filled["shown"] = max([Contexts.shown, *sent])
    return filled


def _keep_known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def translate_senses(senses: Mapping[str, Any]) -> dict[str, Any]:
    """Options of senses under the names that they have now."""
    named = {name: value for name, value in senses.items() if name != "alpha"}
    if "alpha" in senses:
        named.setdefault("same_at", same_at_of(senses["alpha"]))
    if named.get("vectors") == "residual+encoder":
        named["vectors"] = "residual"
    return named


def _tupled(neurons: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v
        for k, v in neurons.items()
    }
