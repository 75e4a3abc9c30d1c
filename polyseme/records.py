"""Jobs, batches, corpora, models and texts as the service answers them.

Times are RFC 3339 strings in UTC. What is known of a neuron is in `polyseme.reports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyseme.contract.records.job import TERMINAL
from polyseme.reading import Raw, Record
from polyseme.reports import Piece, cut_pieces


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


@dataclass(frozen=True)
class Note:
    """What the result of a request will lack, and what lifts it."""

    code: str
    message: str
    pointer: str | None = None  # into the request: what may be changed


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    id: str
    status: str  # queued, running, succeeded, failed, cancelling, cancelled
    phase: str  # queued, planning, scanning, calibrating, merging, closing, ended
    revision: int = 0
    priority: str = "normal"
    queue: str = "default"
    warning: str | None = None  # what holds it up
    notes: tuple[Note, ...] = ()  # on the request, in the answer to it alone
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
    notes: tuple[Note, ...] = ()  # on the request; in the answer to the submit alone


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


@dataclass(frozen=True)
class Example:
    layer: int
    neuron: int
    status: str
    selectivity: float | None = None
    meaning: str | None = None


@dataclass(frozen=True)
class Found:
    """The part of a job's summary that tells of meaning."""

    neurons: int
    statuses: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    # the most selective of those that are called something
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobOfBatch(Record):
    """What a job of a batch has found."""

    index: int  # of the request, from 0
    job: str
    status: str | None = None
    model: str | None = None  # this and what follows is empty once the job is deleted
    corpus: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    summary: Found | None = None  # None without a result
    problem: EntryProblem | None = None  # of a result that cannot be read


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """What a job would take, and what its result will lack. Nothing was run for it."""

    tokens: int
    windows: int
    neurons: int
    layers: int
    memory_bytes: int  # of a worker's statistics, without the model's weights
    # on one worker, merges included; None before a whole scan measured the model's speed
    seconds: float | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus(Record):
    id: str
    documents: int
    characters: int = 0
    longest_characters: int = 0
    utf8_bytes: int = 0
    sha256: str = ""
    duplicates_dropped: int = 0
    empty_dropped: int = 0
    bad_lines_skipped: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)  # documents by language
    warnings: tuple[str, ...] = ()  # of an upload: what was left out of the file
    created_at: str = ""


@dataclass(frozen=True, kw_only=True)
class VectorSet(Record):
    """Directions of one's own: each is a unit of jobs over them."""

    id: str
    model: str = ""
    site: str = ""  # that they are of
    layer: int = 0
    count: int = 0  # of directions
    width: int = 0  # numbers of each
    name: str | None = None
    has_bias: bool = False
    normalized: bool = False  # divided by their lengths when they came
    labels: tuple[str, ...] | None = None  # in their order; None without, and in lists
    sha256: str = ""
    bytes: int = 0
    created_at: str = ""


@dataclass(frozen=True, kw_only=True)
class Site(Record):
    """A place of a model whose units can be analysed, or the reason why it has none."""

    site: str
    units: int  # of a layer; 0 where there is a `why_not`
    hook: str  # TransformerLens' name, with {layer}
    signed: bool
    why_not: str | None = None  # why this model has none of it
    head_size: int | None = None  # units that lie side by side in one attention head


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
    bos: str | None = None
    separator: bool | None = None
    sites: tuple[Site, ...] = ()
    tokens_per_second: float | None = None
    neurons_per_second: float | None = None
    characters_per_token: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dictionary(Record):
    """A sparse dictionary. All but `source` that is below `state` is None until a worker has read
    it.
    """

    id: str
    model: str
    state: str = "undescribed"  # ready, undescribed, unusable
    source: str = ""
    hook: str | None = None  # where it reads
    layer: int | None = None
    site: str | None = None
    architecture: str | None = None  # standard, gated, topk, groupmax, jumprelu
    latents: int | None = None
    width: int | None = None  # numbers of an activation that it encodes
    format: str | None = None
    sha256: str | None = None
    neuronpedia: str | None = None  # its id there
    expected_l0: float | None = None  # mean active latents a token
    prepend_bos: bool | None = None  # texts began with that token in training
    context_size: int | None = None  # tokens of a window in training
    error: str | None = None


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
    same: float | None = None  # 0..1, mean chance of the same meaning as the nearest sense
    name: str | None = None  # of the sense


@dataclass(frozen=True)
class CrossActivation:
    tail: str
    senses: tuple[int, ...]
    names: tuple[str, ...]
    tokens: tuple[int, ...]
    same: float | None = None  # 0..1, mean chance that contexts of the two mean the same


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

    def pieces(self, neuron: TextNeuron) -> list[Piece]:
        """The text with the activations of a neuron, and marks for the special tokens around it."""
        marks = {i: t.token for i, t in enumerate(self.tokens) if t.char_span is None}
        spans = [t.char_span for t in self.tokens]
        return cut_pieces(self.text, spans, neuron.activations, marks)

    def read(self, token: int) -> str:
        """What a token stands for in the text; its own name when it stands for nothing there."""
        found = self.tokens[token]
        start, end = found.char_span or (0, 0)
        return self.text[start:end] or found.token
