"""What is known of neurons: rows of a list, and the report of one; docs/measures.md explains."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyseme.reading import Record

_USUAL_SCRIPT = "Latin"  # where it is all that is known, no language is named

# What a table of neurons shows unless others are asked for.
TABLE_COLUMNS = (
    "layer",
    "neuron",
    "status",
    "polysemanticity",
    "score_percentile",
    "coverage",
    "meaning",
)


@dataclass(frozen=True, kw_only=True)
class _NeuronPlace(Record):
    layer: int | None = None
    neuron: int | None = None
    hook: str | None = None
    head: int | None = None  # None of units that lie in no attention head
    head_dimension: int | None = None


@dataclass(frozen=True, kw_only=True)
class _ControlPlace(Record):
    layer: int | None = None
    ghost: int | None = None  # in its layer, from 0


@dataclass(frozen=True, kw_only=True)
class _Scalars(Record):
    status: str | None = None
    polysemanticity: float | None = None  # 0..1
    polysemanticity_low: float | None = None  # 0..1
    polysemanticity_high: float | None = None  # 0..1
    score_percentile: float | None = None  # 0..1
    effective_senses: float | None = None  # senses, from 1
    sense_count: int | None = None
    broad_count: int | None = None
    sure_count: int | None = None
    unrelated: bool | None = None
    coverage: float | None = None  # 0..1
    coverage_percentile: float | None = None  # 0..1
    selectivity: float | None = None  # deviations
    selectivity_percentile: float | None = None  # 0..1
    monosemanticity_score: float | None = None  # -1 to 1
    negative_status: str | None = None
    negative_polysemanticity: float | None = None  # 0..1
    negative_polysemanticity_low: float | None = None  # 0..1
    negative_polysemanticity_high: float | None = None  # 0..1
    negative_score_percentile: float | None = None  # 0..1
    negative_effective_senses: float | None = None  # senses, from 1
    negative_sense_count: int | None = None
    negative_broad_count: int | None = None
    negative_sure_count: int | None = None
    negative_unrelated: bool | None = None
    negative_coverage: float | None = None  # 0..1
    negative_coverage_percentile: float | None = None  # 0..1
    negative_selectivity: float | None = None  # deviations
    negative_selectivity_percentile: float | None = None  # 0..1
    negative_monosemanticity_score: float | None = None  # -1 to 1
    same_at: float | None = None  # 0..1
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
    decoder_norm: float | None = None  # of a latent: length of what a latent of 1 decodes to


@dataclass(frozen=True, kw_only=True)
class NeuronRow(_Scalars, _NeuronPlace):
    """A neuron's scalars. None: not asked for with `fields`, or not defined for it."""

    meaning: str | None = None  # one sentence on what it fires for
    negative_meaning: str | None = None


@dataclass(frozen=True, kw_only=True)
class ControlRow(_Scalars, _ControlPlace):
    """Likewise of a control unit, a random direction of the layer."""


@dataclass(frozen=True)
class Scores:
    same_at: float
    score: float | None = None  # 0..1
    interval: tuple[float, float] | None = None  # 90 %, over which contexts were drawn
    score_percentile: float | None = None  # 0..1
    effective_senses: float | None = None  # senses, from 1
    sense_count: int | None = None
    broad_count: int | None = None
    sure_count: int | None = None
    unrelated: bool | None = None
    coverage: float | None = None  # 0..1
    coverage_percentile: float | None = None  # 0..1
    selectivity: float | None = None  # deviations
    selectivity_percentile: float | None = None  # 0..1
    monosemanticity_score: float | None = None  # -1 to 1

    @property
    def beside_controls(self) -> str:
        """Where the score stands among the layer's control units; empty without them."""
        if self.score_percentile is None:
            return ""
        return f"higher than that of {self.score_percentile:.0%} of control units"


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
    z: float = 0.0  # log-odds against the corpus, in standard deviations
    text: str = ""  # what the contexts say where it stands, if it is a part of a character


@dataclass(frozen=True)
class Extent:
    min: float
    median: float
    max: float


@dataclass(frozen=True)
class Language:
    language: str  # as the documents name it, or a script, such as Latin
    share: float  # 0..1, of the sense's firing


@dataclass(frozen=True)
class Sense:
    tail: str  # positive, negative
    sense: int  # 0 has the largest share of its tail
    share: float  # 0..1
    name: str = ""  # what its peaks have in common, in words
    languages: tuple[Language, ...] = ()
    size: int = 0  # contexts
    replication: float = 0.0  # 0..1, the chance that it comes again in other documents
    sure: bool = False  # whether that is at least 0.8; else it is tentative
    broad: int = 0  # senses of one field of things have the same
    within: float = 0.0  # 0..1, mean chance that two of its contexts mean the same
    between: float | None = None  # the largest with another sense; None for an only one
    medoid: int | None = None  # index in the report's contexts; None when none of its is shown
    tokens: tuple[SenseToken, ...] = ()
    activation: Extent | None = None
    lexical_diversity: float = 0.0
    auprc: float | None = None
    auprc_baseline: float | None = None
    contexts: tuple[int, ...] = ()  # indices in the report's contexts
    evidence: tuple[int, ...] = ()  # indices in the report's evidence

    @property
    def spoken(self) -> str:
        """Its languages, such as "de 80 %, en 20 %"; "" where they say no more than Latin letters
        do.
        """
        if all(found.language == _USUAL_SCRIPT for found in self.languages):
            return ""
        return ", ".join(f"{found.language} {100 * found.share:.0f} %" for found in self.languages)


@dataclass(frozen=True)
class Histogram:
    edges: tuple[float, ...] = ()  # one more than counts
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stats:
    n_tokens: int = 0
    # None, all of them, when the status is not_finite
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
    mean: float = 0.0
    max: float = 0.0
    text: str = ""  # what the contexts say where it stands, if it is a part of a character


@dataclass(frozen=True)
class Band:
    tail: str
    band: int
    low: float | None = None
    high: float | None = None
    windows: int = 0


@dataclass(frozen=True)
class Piece:
    """Of a text, with the activation of its token: what a reader shades."""

    text: str
    activation: float | None = None  # of its token, the strongest of several; None: of none
    is_peak: bool = False
    is_mark: bool = False  # text is the name of a token that stands for none of the text


@dataclass(frozen=True)
class Context:
    tail: str  # positive, negative
    sample: str  # top, activation, interval, quantile
    activation: float
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int  # index of the peak in tokens
    band: int | None = None
    document: int = 0
    window: int = 0
    position: int = 0  # of the peak in its window
    char_span: tuple[int, int] | None = None  # of the peak token in its document
    sense: int | None = None  # of its tail; None: in none
    display_start: int = 0
    text: str = ""  # what the tokens span of the peak's document
    peak_span: tuple[int, int] | None = None  # of the peak token in text; None: of none of it
    spans: tuple[tuple[int, int] | None, ...] = ()  # likewise of each token
    special: tuple[int, ...] = ()  # indices in tokens of those that stand for no text

    def pieces(self) -> list[Piece]:
        """The text, with marks for its special tokens."""
        marks = {i: self.tokens[i] for i in (*self.special, self.peak)}
        return cut_pieces(self.text, self.spans, self.activations, marks, self.peak)


@dataclass(frozen=True)
class Evidence:
    """A context that is kept for its meaning alone, without its text."""

    tail: str  # positive, negative
    sample: str  # top, activation, interval, quantile
    activation: float
    token: str  # at its peak
    token_id: int | None = None
    text: str = ""  # what the contexts say where it stands, if it is a part of a character
    band: int | None = None
    document: int = 0
    window: int = 0
    position: int = 0  # of the peak in its window
    char_span: tuple[int, int] | None = None  # of the peak token in its document
    sense: int | None = None  # of its tail; None: in none


@dataclass(frozen=True)
class Logit:
    token: str
    token_id: int | None = None
    logit: float = 0.0


@dataclass(frozen=True)
class Logits:
    promoted: tuple[Logit, ...] = ()
    suppressed: tuple[Logit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """All that is known of one neuron."""

    job: str = ""
    model: str = ""
    site: str = "mlp"  # whose unit it is
    dictionary: str | None = None  # the id of the one whose latent it is
    layer: int
    neuron: int
    hook: str = ""
    head: int | None = None  # None of units that lie in no attention head
    head_dimension: int | None = None
    # polysemantic, monosemantic, described, insufficient_evidence, not_scored, not_finite
    status: str
    meaning: str  # one sentence, made by rules from the words at the peaks
    polysemanticity: Scores | None = None
    negative: NegativeTail | None = None  # None unless both tails ran
    senses: tuple[Sense, ...] = ()
    stats: Stats = Stats()
    peak_tokens: tuple[PeakToken, ...] = ()
    bands: tuple[Band, ...] = ()
    near_duplicates: int = 0
    decoder_norm: float | None = None  # of a latent: length of what a latent of 1 decodes to
    contexts: tuple[Context, ...] = ()
    evidence: tuple[Evidence, ...] = ()  # contexts kept beyond those
    logits: Logits | None = None  # None for encoders

    def contexts_of(self, sense: Sense) -> list[Context]:
        return [self.contexts[i] for i in sense.contexts if i < len(self.contexts)]

    def firing_share(self, sense: Sense) -> float:
        """Its part of all the firing in the tail's contexts, in a sense or not: 0..1."""
        tail = self.negative if sense.tail == "negative" else self
        scores = None if tail is None else tail.polysemanticity
        covered = None if scores is None else scores.coverage
        return sense.share * (1.0 if covered is None else covered)

    def strongest(self, tail: str = "positive") -> list[Context]:
        """Those of the tail that are kept with their text, the strongest first, in a sense or
        not.
        """
        own = [c for c in self.contexts if c.tail == tail]
        return sorted(own, key=lambda c: -abs(c.activation))

    def find_kin(self, sense: Sense) -> Sense | None:
        """The first sense of the same broad one, when that is another."""
        same = (s for s in self.senses if (s.tail, s.broad) == (sense.tail, sense.broad))
        first = next(same, sense)
        return None if first is sense else first


def cut_pieces(
    text: str,
    spans: Sequence[tuple[int, int] | None],
    activations: Sequence[float | None],
    marks: Mapping[int, str],
    peak: int = -1,
) -> list[Piece]:
    """spans, activations: of each token; marks: names for those of them that have no place in the
    text, each put in where it stands among the others. "\\r\\n" is never cut apart.
    """
    placed = {i: s for i, s in enumerate(spans) if s is not None and s[1] > s[0]}
    cuts = {0, len(text), *(edge for span in placed.values() for edge in span)}
    edges = sorted(edge for edge in cuts if text[max(edge - 1, 0) : edge + 1] != "\r\n")
    holders: list[list[int]] = [[] for _ in edges]
    for i, (start, end) in placed.items():
        for place in range(bisect_right(edges, start) - 1, bisect_left(edges, end)):
            holders[place].append(i)
    marked = _place_marks(placed, marks, edges, len(activations))
    pieces: list[Piece] = []
    for place, start in enumerate(edges):
        pieces += [
            Piece(marks[i], activations[i], i == peak, is_mark=True) for i in marked.get(place, ())
        ]
        if start < len(text):
            held = holders[place]
            strongest = max((activations[i] for i in held), key=_size, default=None)
            pieces.append(Piece(text[start : edges[place + 1]], strongest, peak in held))
    return pieces


def _place_marks(
    placed: Mapping[int, tuple[int, int]],
    marks: Mapping[int, str],
    edges: Sequence[int],
    tokens: int,
) -> dict[int, list[int]]:
    """The tokens to be named before each edge's piece: where the tokens before them end."""
    found: dict[int, list[int]] = {}
    reached = 0
    for i in range(tokens):
        if i in placed:
            reached = max(reached, placed[i][1])
        elif i in marks:
            found.setdefault(bisect_left(edges, reached), []).append(i)
    return found


def _size(activation: float | None) -> float:
    return -1.0 if activation is None else abs(activation)
