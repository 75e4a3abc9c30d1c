"""The columns of a result, each declared once: its type, its words, its unit, when it is null.

The Parquet schemas (`results.py`), the answers in OpenAPI, the filters of a list and the table in
docs/measures.md follow from these; the client's records are checked against them. Knows nothing of
how a number comes about.

`python -m polyseme.contract.files.columns` prints the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

TAILS: Final = ("positive", "negative")
NOT_FINITE: Final = "not_finite"
STATUSES: Final = (
    "monosemantic",
    "polysemantic",
    "incoherent",
    "insufficient_evidence",
    "not_scored",
    NOT_FINITE,
)


@dataclass(frozen=True)
class Column:
    """A column, or a field of the entries of one."""

    name: str
    type: pa.DataType
    words: str  # a sentence: what it is
    unit: str = ""  # or its range; empty for a text, an index and what has none
    null: str | None = None  # goes on from "null ", such as "when std is 0"; None: it never is
    choices: tuple[str, ...] = ()  # of a text: the ones that there are
    is_bounded: bool = False  # lists have min_ and max_ of it as filters
    is_listed: bool = True  # lists of neurons can show it, and be sorted by it
    parts: tuple[Column, ...] = ()  # of the entries of a list, where these have fields

    @property
    def description(self) -> str:
        return self.words if self.null is None else f"{self.words[:-1]}; null {self.null}."

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type)


def entries(name: str, parts: tuple[Column, ...], words: str, null: str | None = None) -> Column:
    """A column of lists, whose entries have these fields."""
    return Column(name, pa.list_(struct_of(parts)), words, null=null, parts=parts)


def struct_of(parts: tuple[Column, ...]) -> pa.StructType:
    return pa.struct([p.field for p in parts])


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([c.field for c in columns])


def negative(name: str) -> str:
    """The negative tail's column."""
    return f"negative_{name}"


_INT: Final = pa.int32()
_LONG: Final = pa.int64()
_FLOAT: Final = pa.float32()
_DOUBLE: Final = pa.float64()
_TEXT: Final = pa.string()

_SHARE: Final = "0 to 1"
ACTIVATION: Final = "activation"  # as the model gives it
LOGIT_UNIT: Final = "logit"
_QUANTILE: Final = "quantile of random pairs"
_CONTEXTS: Final = "contexts"

_UNSCORED: Final = "unless the status is monosemantic or polysemantic"
_UNJUDGED: Final = "with too little evidence, and when senses were not asked for"
_BROKEN: Final = "when the status is not_finite"
_FLAT: Final = f"when std is 0, and {_BROKEN}"
_SILENT: Final = "without contexts with a positive activation"
_TEXTLESS: Final = "when it stands for none of it, as a special token does"

PLACE: Final = (
    Column("layer", _INT, "From 0."),
    Column("neuron", _INT, "In its layer, from 0."),
    Column("hook", _TEXT, "TransformerLens' name of where it is."),
)

# What is said of one tail of a neuron. The scalars hold these for the positive tail under these
# names, and for the negative one under the names that `negative` gives.
SCORES: Final = (
    Column("status", _TEXT, "What can be said of the neuron's meaning.", choices=STATUSES),
    Column(
        "polysemanticity",
        _DOUBLE,
        "The chance that two firings differ in meaning.",
        _SHARE,
        _UNSCORED,
        is_bounded=True,
    ),
    Column(
        "polysemanticity_low",
        _DOUBLE,
        "Lower end of its 90 % bootstrap interval.",
        _SHARE,
        _UNSCORED,
    ),
    Column("polysemanticity_high", _DOUBLE, "Its upper end.", _SHARE, _UNSCORED),
    Column(
        "effective_senses",
        _DOUBLE,
        "The exponential of the entropy of the senses' shares.",
        "senses, from 1",
        _UNSCORED,
        is_bounded=True,
    ),
    Column("sense_count", _INT, "Senses found.", "senses", _UNJUDGED, is_bounded=True),
    Column(
        "coverage",
        _DOUBLE,
        "Activation-weighted share of the contexts that are in a sense.",
        _SHARE,
        _UNJUDGED,
        is_bounded=True,
    ),
    Column(
        "monosemanticity_score",
        _DOUBLE,
        "Activation-weighted mean cosine of the contexts (MS).",
        "-1 to 1",
        _UNJUDGED,
        is_bounded=True,
    ),
)
_NEGATIVE_BOUNDED: Final = ("polysemanticity", "sense_count", "coverage")


def _of_negative_tail(column: Column) -> Column:
    null = "unless both tails ran"
    return replace(
        column,
        name=negative(column.name),
        words=f"Likewise, of the negative tail: {column.words[0].lower()}{column.words[1:]}",
        null=null if column.null is None else f"{column.null}; and {null}",
        is_bounded=column.name in _NEGATIVE_BOUNDED,
    )


NEGATIVE_SCORES: Final = tuple(map(_of_negative_tail, SCORES))
ALPHA: Final = Column(
    "alpha",
    _DOUBLE,
    "With which senses were told apart.",
    _QUANTILE,
    "when senses were not asked for",
)

# What a report gathers under `stats`.
STATS: Final = (
    Column("n_tokens", _LONG, "Counted tokens: the denominator of what follows.", "tokens"),
    Column(
        "density",
        _DOUBLE,
        "Share of the tokens with activation > 0.",
        _SHARE,
        _BROKEN,
        is_bounded=True,
    ),
    Column("mean", _DOUBLE, "Over all counted tokens.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("std", _DOUBLE, "Population standard deviation.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("skewness", _DOUBLE, "The population's.", null=_FLAT, is_bounded=True),
    Column(
        "kurtosis", _DOUBLE, "Excess: 0 for a normal distribution.", null=_FLAT, is_bounded=True
    ),
    Column("min", _FLOAT, "Smallest activation.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("max", _FLOAT, "Largest activation.", ACTIVATION, _BROKEN, is_bounded=True),
)
EVIDENCE: Final = (
    Column("top_contexts", _INT, "Kept in the positive top list.", _CONTEXTS),
    Column("sampled_contexts", _INT, "Kept in the positive sample.", _CONTEXTS),
    Column(
        "distinct_contexts",
        _INT,
        "Of both together, those with a positive activation.",
        _CONTEXTS,
        is_bounded=True,
    ),
    Column(
        "near_duplicates",
        _INT,
        "Left out of the positive lists as copies of a kept one.",
        _CONTEXTS,
        is_bounded=True,
    ),
    Column("peak_token", _TEXT, "The commonest token at the peaks.", null=_SILENT),
    Column(
        "peak_token_share",
        _DOUBLE,
        "Of the distinct contexts, those that peak on it.",
        _SHARE,
        _SILENT,
        is_bounded=True,
    ),
    Column("peak_token_count", _INT, "Different tokens at the peaks.", "tokens"),
)
PEAK_TOKEN_IDS: Final = Column(
    "peak_token_ids", pa.list_(_INT), "Those tokens, commonest first.", is_listed=False
)
PEAK_TEXTS: Final = Column(
    "peak_texts",
    pa.list_(_TEXT),
    "What the documents say there where tokens read otherwise, commonest first.",
    is_listed=False,
)

# `neurons.parquet`: one row a neuron.
SCALARS: Final = (
    *PLACE, *SCORES, *NEGATIVE_SCORES, ALPHA, *STATS, *EVIDENCE, PEAK_TOKEN_IDS,
    PEAK_TEXTS,
)  # fmt: skip
LISTED: Final = tuple(c.name for c in SCALARS if c.is_listed)
BOUNDED: Final = tuple(c.name for c in SCALARS if c.is_bounded)

_TAIL: Final = Column("tail", _TEXT, "Of the neuron's two.", choices=TAILS)
_TOKEN: Final = Column("token", _INT, "Row in the vocabulary.")

CONTEXT: Final = (
    _TAIL,
    Column("sample", _TEXT, "How it was chosen.", choices=("top", "interval", "quantile")),
    Column("band", _INT, "Of the sample, 0 the weakest.", null="for top"),
    Column("document", _INT, "Number in the corpus."),
    Column("window", _INT, "Number through the corpus."),
    Column("position", _INT, "Of the peak in its window."),
    Column("char_start", _INT, "Of the peak token in its document.", "characters"),
    Column("char_end", _INT, "One past its last character.", "characters"),
    Column("activation", _FLOAT, "At the peak, exact.", ACTIVATION),
    Column("sense", _INT, "Of its tail.", null="when it is in none"),
    Column("display_start", _INT, "Position of tokens[0] in the window."),
    Column("tokens", pa.list_(_INT), "Around the peak, as rows of the vocabulary."),
    Column(
        "activations",
        pa.list_(_FLOAT),
        "Of those tokens, uncounted ones too; rounded to float16 but at the peak: beyond 65504 it "
        "is 65504, below 3e-8 it is 0.",
        ACTIVATION,
    ),
    Column("text", _TEXT, "What the shown tokens span of the peak's document."),
    Column("peak_start", _INT, "Of the peak token in `text`.", "characters", _TEXTLESS),
    Column("peak_end", _INT, "One past its last character.", "characters", _TEXTLESS),
    Column(
        "token_starts",
        pa.list_(_INT),
        "Of each of `tokens` in `text`; null for one that stands for none of it.",
        "characters",
    ),
    Column("token_ends", pa.list_(_INT), "One past its last character; likewise.", "characters"),
)
BAND: Final = (
    _TAIL,
    Column("band", _INT, "From 0, the weakest."),
    Column("low", _FLOAT, "Exclusive.", ACTIVATION, "when no finite number bounds it"),
    Column("high", _FLOAT, "Inclusive.", ACTIVATION, "when it has no upper end"),
    Column("windows", _LONG, "Of the corpus, whose peak lies inside.", "windows"),
)
PEAK_TOKEN: Final = (
    _TOKEN,
    Column("count", _INT, "Contexts that peak on it.", _CONTEXTS),
    Column("mean", _FLOAT, "Of their peaks.", ACTIVATION),
    Column("max", _FLOAT, "Of their peaks.", ACTIVATION),
)
LOGIT: Final = (
    _TOKEN,
    Column("logit", _FLOAT, "What one unit of activation adds to it.", LOGIT_UNIT),
)
SENSE_TOKEN: Final = (
    _TOKEN,
    Column("at", _TEXT, "At the peaks, or within a few tokens of them.", choices=("peak", "near")),
    Column("count", _INT, "Contexts of the sense that hold it there.", _CONTEXTS),
    Column(
        "z", _FLOAT, "Log-odds against the corpus, in standard deviations.", "standard deviations"
    ),
)
SENSE: Final = (
    _TAIL,
    Column("sense", _INT, "0 has the largest share of its tail."),
    Column("share", _FLOAT, "Activation-weighted; they sum to 1 over a tail.", _SHARE),
    Column("size", _INT, "Contexts.", _CONTEXTS),
    Column(
        "cohesion",
        _FLOAT,
        "Mean distance inside, as a quantile of random pairs: 0 tight, 1 random.",
        _QUANTILE,
        "for a sense of one context",
    ),
    Column(
        "separation",
        _FLOAT,
        "Mean distance to the nearest other sense, likewise.",
        _QUANTILE,
        "for an only sense",
    ),
    Column("medoid", _INT, "Index in `contexts` of the one nearest to all others."),
    Column("activation_min", _FLOAT, "Of its contexts, without the tail's sign.", ACTIVATION),
    Column("activation_median", _FLOAT, "Likewise.", ACTIVATION),
    Column("activation_max", _FLOAT, "Likewise.", ACTIVATION),
    Column("lexical_diversity", _FLOAT, "Different peak tokens by contexts.", _SHARE),
    Column(
        "auprc",
        _FLOAT,
        "How well nearness to the sense tells on which random tokens the neuron fires.",
        _SHARE,
        "when it fires on fewer than five of them",
    ),
    Column(
        "auprc_baseline",
        _FLOAT,
        "What a random ranking reaches.",
        _SHARE,
        "likewise",
    ),
    entries("tokens", SENSE_TOKEN, "Those that set it apart, most so first."),
)
# One step of the agglomeration of a tail's n contexts with a positive activation on it, numbered in
# their order. The pieces are contexts 0 to n - 1; step i makes piece n + i.
MERGE: Final = (
    Column("left", pa.int16(), "A piece."),
    Column("right", pa.int16(), "Another."),
    Column("height", _FLOAT, "The smallest alpha at which the two are one sense.", _QUANTILE),
)

_NO_LENS: Final = "for encoders, without a last norm, and where an output weight is not finite"
# `reports/layer-….parquet`: one row a neuron, with its contexts.
REPORTS: Final = (
    *(c for c in SCALARS if c.is_listed),
    Column("quantiles", pa.list_(_FLOAT), "At `QUANTILES`, within a bin.", ACTIVATION),
    Column("histogram_first", _INT, "Bin of histogram[0]; bins outside the list are empty."),
    Column("histogram", pa.list_(_LONG), "Counted tokens in each bin.", "tokens"),
    entries("bands", BAND, "The ranges that the sample was drawn from."),
    entries("peak_tokens", PEAK_TOKEN, "Over the positive contexts, commonest first."),
    entries("contexts", CONTEXT, "Positive top, positive sample, then negative likewise."),
    entries("senses", SENSE, "Positive, then negative, each by share."),
    entries("merges", MERGE, "How the contexts were grouped.", "when senses were not asked for"),
    entries(
        negative("merges"),
        MERGE,
        "Likewise, of the negative tail.",
        "when senses were not asked for; and unless both tails ran",
    ),
    entries("promoted", LOGIT, "Tokens whose logits it raises most.", _NO_LENS),
    entries("suppressed", LOGIT, "Tokens whose logits it lowers most.", _NO_LENS),
)


def table_lines() -> Iterator[str]:
    """The table of docs/measures.md, in Markdown."""
    yield "| column | type | what it is | unit or range | `null` | `min_`, `max_` |"
    yield "|---|---|---|---|---|---|"
    yield from map(_row, SCALARS)
    for column in REPORTS[len(LISTED) :]:
        yield from _rows(column, "")


def _rows(column: Column, inside: str) -> Iterator[str]:
    """The column's own row and those of its parts. inside: the names of what it is a part of."""
    yield _row(replace(column, name=inside + column.name))
    for part in column.parts:
        yield from _rows(part, f"{inside}{column.name}[].")


def _row(column: Column) -> str:
    choices = ", ".join(f"`{c}`" for c in column.choices)
    cells = (
        f"`{column.name}`",
        _show_type(column),
        column.words + (f" {choices}." if choices else ""),
        column.unit,
        column.null or "",
        "yes" if column.is_bounded else "",
    )
    return f"| {' | '.join(cells)} |".replace("|  ", "| ")


def _show_type(column: Column) -> str:
    if not pa.types.is_list(column.type):
        return str(column.type)
    return "list" if column.parts else f"list of {column.type.value_type}"


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in table_lines()))
