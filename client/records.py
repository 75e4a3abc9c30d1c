"""What the service answers, as frozen records. Reads what it knows; what a newer service adds is in `raw`.

Times are RFC 3339 strings in UTC. docs/measures.md says what each number is.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from contract.records import TERMINAL

R = TypeVar("R")
Raw = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    raw: Raw = field(default_factory=dict, repr=False, compare=False)  # the service's JSON, whole


@dataclass(frozen=True)
class Count:
    done: int = 0
    total: int | None = None  # None before the job is planned


@dataclass(frozen=True)
class Progress:
    unit: str = "tokens"
    total: int | None = None  # so are the other totals: None before the job is planned
    done: int = 0
    shards: Count = Count()
    layers: Count = Count()
    tokens_done: int = 0
    tokens_total: int | None = None
    tokens_per_second: float | None = None
    fraction: float | None = None  # 0..1, of the tokens
    eta_seconds: float | None = None  # of the phase; None when it cannot be told


@dataclass(frozen=True)
class JobError:
    code: str
    detail: str


@dataclass(frozen=True)
class Reused:
    layers: str  # as "0-3,14"
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    id: str
    status: str  # queued, running, succeeded, failed, cancelling, cancelled
    phase: str  # queued, planning, scanning, calibrating, merging, closing, ended
    revision: int = 0
    priority: str = "normal"
    queue: str = "default"
    warning: str | None = None  # while no worker serves its queue
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None
    request: Raw = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    reused: Reused | None = None  # what was taken over from results of other jobs, and not scanned
    error: JobError | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    batch: str | None = None  # that it was submitted with

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"

    def _repr_html_(self) -> str:
        from client.html import job_html

        return job_html(self)


@dataclass(frozen=True)
class Counts:
    """A batch's jobs by status."""

    jobs: int = 0  # all of them
    queued: int = 0
    running: int = 0
    cancelling: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0  # entries that no job was made of


@dataclass(frozen=True)
class EntryError:
    pointer: str  # into the batch's request: /jobs/3/contexts/top_k
    detail: str


@dataclass(frozen=True)
class EntryProblem:
    status: int  # that a single submit would have answered
    code: str
    detail: str
    errors: tuple[EntryError, ...] = ()


@dataclass(frozen=True)
class Entry:
    """What became of one request of a batch: a job or a problem."""

    index: int  # of the request, from 0
    job: str | None = None
    status: str | None = None  # of the job; its last one also when it is deleted
    problem: EntryProblem | None = None


@dataclass(frozen=True, kw_only=True)
class Batch(Record):
    id: str
    status: str  # running, cancelling, ended
    revision: int = 0
    atomic: bool = True
    created_at: str = ""
    finished_at: str | None = None
    expires_at: str | None = None
    counts: Counts = Counts()
    fraction: float | None = None  # 0..1, mean over the jobs
    metadata: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()  # in the order of the requests; empty in a list of batches

    @property
    def has_ended(self) -> bool:
        return self.status == "ended"


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """What a job would take. Nothing was tokenised for it."""

    tokens: int
    windows: int
    neurons: int
    layers: int
    memory_bytes: int  # of a worker's statistics, without the model's weights
    seconds: float | None = None  # on one worker; None before any job measured the model's speed


@dataclass(frozen=True, kw_only=True)
class Corpus(Record):
    id: str
    documents: int
    characters: int = 0
    utf8_bytes: int = 0
    sha256: str = ""
    duplicates_dropped: int = 0
    empty_dropped: int = 0
    created_at: str = ""


@dataclass(frozen=True, kw_only=True)
class Model(Record):
    """What is below `state` is None until a worker has looked at the model."""

    id: str
    source: str = ""
    state: str = "undescribed"  # ready, undescribed, unusable
    family: str | None = None
    kind: str | None = None  # decoder, encoder
    layers: int | None = None
    neurons: int | None = None  # a layer
    gated: bool | None = None
    hidden_size: int | None = None
    vocabulary: int | None = None
    max_positions: int | None = None
    hooks: str | None = None
    bos: str | None = None
    separator: bool | None = None
    sites: tuple[str, ...] = ()
    tokens_per_second: float | None = None
    characters_per_token: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class NeuronRow(Record):
    """A neuron's scalars. None: not asked for with `fields`, or not defined for it."""

    layer: int | None = None
    neuron: int | None = None
    hook: str | None = None
    status: str | None = None
    polysemanticity: float | None = None  # 0..1
    polysemanticity_low: float | None = None
    polysemanticity_high: float | None = None
    effective_senses: float | None = None
    sense_count: int | None = None
    coverage: float | None = None  # 0..1
    monosemanticity_score: float | None = None
    negative_status: str | None = None
    negative_polysemanticity: float | None = None
    negative_polysemanticity_low: float | None = None
    negative_polysemanticity_high: float | None = None
    negative_effective_senses: float | None = None
    negative_sense_count: int | None = None
    negative_coverage: float | None = None
    negative_monosemanticity_score: float | None = None
    alpha: float | None = None
    n_tokens: int | None = None
    density: float | None = None  # 0..1
    mean: float | None = None
    std: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    min: float | None = None
    max: float | None = None
    top_contexts: int | None = None
    sampled_contexts: int | None = None
    distinct_contexts: int | None = None
    near_duplicates: int | None = None
    peak_token: str | None = None
    peak_token_share: float | None = None  # 0..1
    peak_token_count: int | None = None


@dataclass(frozen=True)
class Scores:
    alpha: float
    score: float | None = None  # 0..1; None unless the neuron is coherent
    interval: tuple[float, float] | None = None  # 90 % bootstrap
    effective_senses: float | None = None
    sense_count: int | None = None
    coverage: float | None = None  # 0..1
    monosemanticity_score: float | None = None


@dataclass(frozen=True)
class NegativeTail:
    status: str
    meaning: str = ""
    polysemanticity: Scores | None = None


@dataclass(frozen=True)
class SenseToken:
    token: str
    token_id: int | None = None
    at: str = "peak"  # peak, near
    count: int = 0
    z: float | None = None  # log-odds against the corpus, in standard deviations


@dataclass(frozen=True)
class Extent:
    min: float
    median: float
    max: float


@dataclass(frozen=True)
class Sense:
    tail: str  # positive, negative
    sense: int  # 0 has the largest share of its tail
    share: float  # 0..1
    size: int = 0  # contexts
    cohesion: float | None = None  # quantile of random pairs: 0 tight, 1 random
    separation: float | None = None
    medoid: int | None = None  # index in the report's contexts
    tokens: tuple[SenseToken, ...] = ()
    activation: Extent | None = None
    lexical_diversity: float | None = None
    auprc: float | None = None
    auprc_baseline: float | None = None
    contexts: tuple[int, ...] = ()  # indices in the report's contexts


@dataclass(frozen=True)
class Histogram:
    edges: tuple[float, ...] = ()  # one more than counts
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stats:
    n_tokens: int | None = None
    density: float | None = None  # 0..1
    mean: float | None = None
    std: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    min: float | None = None
    max: float | None = None
    quantiles: Mapping[str, float | None] = field(default_factory=dict)
    histogram: Histogram = Histogram()


@dataclass(frozen=True)
class PeakToken:
    token: str
    token_id: int | None = None
    count: int = 0
    mean: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Band:
    tail: str
    band: int
    low: float | None = None
    high: float | None = None
    windows: int = 0


@dataclass(frozen=True)
class Context:
    tail: str  # positive, negative
    sample: str  # top, interval, quantile
    activation: float
    tokens: tuple[str, ...]
    activations: tuple[float | None, ...]
    peak: int  # index of the peak in tokens
    band: int | None = None
    document: int | None = None
    window: int | None = None
    position: int | None = None  # of the peak in its window
    char_span: tuple[int, int] | None = None  # of the peak token in its document
    sense: int | None = None  # of its tail; None: in none
    display_start: int | None = None


@dataclass(frozen=True)
class Logit:
    token: str
    token_id: int | None = None
    logit: float | None = None


@dataclass(frozen=True)
class Logits:
    promoted: tuple[Logit, ...] = ()
    suppressed: tuple[Logit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """All that is known of one neuron."""

    job: str = ""
    model: str = ""
    layer: int
    neuron: int
    hook: str = ""
    status: str  # monosemantic, polysemantic, incoherent, insufficient_evidence, not_scored
    meaning: str  # one sentence, made by rules from the rest
    polysemanticity: Scores | None = None
    negative: NegativeTail | None = None  # None unless both tails ran
    senses: tuple[Sense, ...] = ()
    stats: Stats = Stats()
    peak_tokens: tuple[PeakToken, ...] = ()
    bands: tuple[Band, ...] = ()
    near_duplicates: int | None = None
    contexts: tuple[Context, ...] = ()
    logits: Logits | None = None  # None for encoders

    def contexts_of(self, sense: Sense) -> list[Context]:
        return [self.contexts[i] for i in sense.contexts if i < len(self.contexts)]

    def _repr_html_(self) -> str:
        from client.html import report_html

        return report_html(self)


@dataclass(frozen=True)
class TextToken:
    token: str
    token_id: int | None = None
    char_span: tuple[int, int] | None = None
    window: int = 0


@dataclass(frozen=True)
class Threshold:
    positive: float | None = None
    negative: float | None = None


@dataclass(frozen=True)
class TextPeak:
    token: int  # index in tokens
    tail: str
    activation: float
    sense: int | None = None
    distance: float | None = None
    name: str | None = None  # of the nearest sense


@dataclass(frozen=True)
class CrossActivation:
    tail: str
    senses: tuple[int, ...]
    names: tuple[str, ...]
    tokens: tuple[int, ...]
    separation: float | None = None


@dataclass(frozen=True)
class TextNeuron:
    layer: int
    neuron: int
    hook: str = ""
    activations: tuple[float | None, ...] = ()  # of each token
    threshold: Threshold = Threshold()
    peaks: tuple[TextPeak, ...] = ()
    cross_activations: tuple[CrossActivation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Activations(Record):
    """What some neurons do in a text. `tokens` and `neurons` are empty unless it succeeded."""

    id: str
    status: str
    job: str = ""
    model: str = ""
    created_at: str = ""
    finished_at: str | None = None
    text: str = ""
    tokens: tuple[TextToken, ...] = ()
    neurons: tuple[TextNeuron, ...] = ()
    note: str | None = None  # why no peak has a sense
    error: JobError | None = None

    def _repr_html_(self) -> str:
        from client.html import activations_html

        return activations_html(self)


def reader(kind: type[R]) -> Callable[[Raw], R]:
    """A function that reads a record from JSON. It raises ValueError for a field that has no default and is missing."""
    return lambda data: read(kind, data)


def read(kind: type[R], data: Raw) -> R:
    if not isinstance(data, Mapping):
        raise ValueError(f"no {kind.__name__}: {data!r:.100}")
    values: dict[str, Any] = {}
    for name, (convert, has_default) in _plan(cast(Any, kind)).items():
        # A null where the record has a default that is not None, such as the tokens of an unfinished check.
        if (value := data.get(name)) is not None:
            values[name] = convert(value)
        elif not has_default:
            raise ValueError(f"this {kind.__name__} has no {name}: is it one?")
    if issubclass(kind, Record):
        values["raw"] = data
    return kind(**values)


@cache
def _plan(kind: Any) -> dict[str, tuple[Callable[[Any], Any], bool]]:
    hints = get_type_hints(kind)
    return {
        f.name: (_converter(hints[f.name]), f.default is not MISSING or f.default_factory is not MISSING)
        for f in fields(kind)
        if f.name != "raw"
    }


def _converter(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(a for a in get_args(hint) if a is not type(None))
    if get_origin(hint) is tuple:
        inner = _converter(get_args(hint)[0])
        return lambda values: tuple(None if v is None else inner(v) for v in _listed(values))
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return reader(hint)
    return lambda value: value


def _listed(values: Any) -> Sequence[Any]:
    if not isinstance(values, list):
        raise ValueError(f"expected a list: {values!r:.100}")
    return values
