"""The records that API and workers exchange through the board: a job, a live check, a corpus, a
model's card.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from polyseme.contract.names import DEFAULT_QUEUE, DEFAULT_TENANT, Priority
from polyseme.contract.records.request import AnalysisRequest

Status = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled"]
Phase = Literal["queued", "planning", "scanning", "calibrating", "merging", "closing", "ended"]
DeliveryState = Literal["waiting", "pending", "delivered", "failed"]
Kind = Literal[
    "analysis", "activations"
]  # activations: a live check, which runs a text through a finished job's model

REMEMBERED_S = 30 * 24 * 3600  # that a job, or a batch, has expired

# Of a job's record and request: grows with any change that an older worker would get wrong. A job
# has the lowest with which workers get it right, so that what is old in it waits for no upgrade.
JOB_VERSION = 2

TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
JOB_ID = re.compile(r"job_[0-9a-f]{28}")
CHECK_ID = re.compile(r"act_[0-9a-f]{28}")
BATCH_ID = re.compile(r"bat_[0-9a-f]{28}")
CORPUS_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,63}")

ACTIVATIONS = "activations.json"  # in the result folder of a live check

_PREFIXES: dict[Kind, str] = {"analysis": "job_", "activations": "act_"}


def new_job_id(kind: Kind = "analysis") -> str:
    """48 bits of milliseconds and 64 random ones, so ids sort by time and cannot be guessed."""
    return f"{_PREFIXES[kind]}{int(time.time() * 1000):012x}{secrets.token_hex(8)}"


def new_batch_id() -> str:
    """As long, as well sorted and as hard to guess as a job's."""
    return new_job_id().replace("job_", "bat_")


def is_batch(name: str) -> bool:
    return name.startswith("bat_")


def kind_of(job: str) -> Kind:
    """What a job with this id does."""
    return "activations" if job.startswith(_PREFIXES["activations"]) else "analysis"


@dataclass(frozen=True)
class Progress:
    """Work done, in tokens run through the model.

    `tokens_total` is None until the job is planned.
    """

    shards_done: int
    shards_total: int | None
    layers_done: int
    layers_total: int | None
    tokens_done: int
    tokens_total: int | None
    tokens_per_second: float | None  # since the first shard began
    phase_s: float | None = None  # since the phase began; None once the job has ended


@dataclass(frozen=True)
class Busy:
    """Seconds that workers ran units of a job, its model loaded."""

    before_merges_s: float = 0.0
    merges_s: float = 0.0


@dataclass(frozen=True)
class Delivery:
    """How the webhook of a job stands."""

    url: str
    state: DeliveryState  # waiting: the job has not ended; failed: given up
    attempts: int  # begun
    last_status: int | None  # of the last answer
    last_error: str | None  # why the last attempt failed, in a sentence
    next_attempt_at: float | None  # seconds since the epoch; None unless pending


@dataclass(frozen=True)
class ActivationsRequest:
    """What a live check is to do. It goes before everything that waits."""

    job: str  # a job that succeeded; its request says how the text is cut
    model: str  # that job's
    text: str
    neurons: tuple[tuple[int, int], ...]  # layer and neuron, each among the job's
    top: int  # peaks listed of a neuron, the strongest

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"priority": "high"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ActivationsRequest:
        neurons = tuple((layer, neuron) for layer, neuron in data["neurons"])
        return cls(data["job"], data["model"], data["text"], neurons, data["top"])


Request = AnalysisRequest | ActivationsRequest


def kind_of_request(request: Request) -> Kind:
    return "analysis" if isinstance(request, AnalysisRequest) else "activations"


def version_of(request: Request) -> int:
    """Which version of workers a request needs, at least."""
    if not isinstance(request, AnalysisRequest):
        return 1
    neurons = request.neurons
    is_newer = neurons.vectors or neurons.dictionary or request.tokens.exclude_sinks is not None
    return 2 if is_newer else 1


def priority_of(request: Request) -> Priority:
    """In which lane its units wait. A live check goes before everything."""
    return request.priority if isinstance(request, AnalysisRequest) else "live"


@dataclass(frozen=True)
class Job:
    id: str
    status: Status
    phase: Phase
    revision: int  # grows with every change, progress included; the ETag
    request: Request  # by its kind
    created_at: float  # seconds since the epoch, from Redis' clock; so are the others
    started_at: float | None
    finished_at: float | None
    progress: Progress
    error: Mapping[str, str] | None  # {"code", "detail"}; only when failed
    queue: str = DEFAULT_QUEUE  # where its units wait
    origin: Mapping[str, str] = field(
        default_factory=dict
    )  # of the request that made it: "request_id", "traceparent", "tenant", "base" (links' prefix)
    webhook: Delivery | None = None
    tenant: str = DEFAULT_TENANT
    expires_at: float | None = None  # when it is deleted; None before its end, and when it stays
    has_expired: bool = False  # by Redis' clock, when it was read
    is_overdue: bool = False  # past its deadline, likewise
    version: int = 1  # of workers, at least
    batch: str | None = None  # that it was submitted in, until that is deleted
    # since a unit of it found the store away, until one is finished
    store_away_since: float | None = None
    # why the last worker that took a unit gave it back to others, until one is finished
    waits_because: str | None = None
    record_bytes: int = 0  # of its request, as Redis has it
    # Layers taken over from the results of other jobs, by job. None from none; empty before the
    # plan is made, too.
    reused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    # units "calibrate", and "norms" where there are any; 0 before the plan is made, and when that
    # calibrates or nothing does
    calibration_parts: int = 0
    busy: Busy = Busy()
    scan_address: str = (
        ""  # by which others find its scan; "" when they are not to, and before the plan is made
    )

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def kind(self) -> Kind:
        return kind_of(self.id)

    @property
    def analysis(self) -> AnalysisRequest:
        """Raises TypeError for a live check."""
        if not isinstance(self.request, AnalysisRequest):
            raise TypeError(f"{self.id} is no analysis")
        return self.request

    @property
    def check(self) -> ActivationsRequest:
        """Raises TypeError for an analysis."""
        if not isinstance(self.request, ActivationsRequest):
            raise TypeError(f"{self.id} is no live check")
        return self.request


@dataclass(frozen=True)
class Corpus:
    """A registered corpus of one tenant.

    Its documents lie in the store at `Layout.documents(id, tenant)`.
    """

    id: str
    # Over every kept document: 8 bytes of little-endian byte length, then its UTF-8; where it has a
    # language, 8 bytes 0xff behind that, and the language likewise.
    sha256: str
    documents: int  # kept
    characters: int  # of the kept documents
    utf8_bytes: int
    duplicates_dropped: int  # exact copies of an earlier document
    empty_dropped: int  # nothing but white space
    created_at: float
    bad_lines_skipped: int = 0  # lines, elements or rows that are no document
    longest_characters: int = 0  # of its longest document
    # Documents by language, the 20 commonest first; empty when no document has one.
    languages: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Without languages where there are none, as a corpus had it before it could have any."""
        data = asdict(self)
        return data if self.languages else {k: v for k, v in data.items() if k != "languages"}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Corpus:
        return cls(**json.loads(text))
