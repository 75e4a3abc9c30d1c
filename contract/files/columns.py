"""The columns of a result, each declared once: its type, its words, its unit, when it is null.

The Parquet schemas (`results.py`), the answers in OpenAPI, the filters of a list and the table in
docs/measures.md follow from these; the client's records are checked against them. Knows nothing of
how a number comes about.

`python -m polyseme.contract.files.columns` prints the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa

from polyseme.contract.files.column import (
    ACTIVATION,
    CHANCE_RANGE,
    CONTEXT_UNIT,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SHARE_RANGE,
    STATUSES,
    TEXT,
    Column,
    list_of,
    negative,
)
from polyseme.contract.files.entries import (
    BAND,
    CONTEXT,
    EVIDENCE_ENTRY,
    LOGIT,
    MERGE,
    PEAK_TOKEN,
    SENSE,
)

_UNJUDGED: Final = "with too little evidence, and when senses were not asked for"
_BROKEN: Final = "when the status is not_finite"
_FLAT: Final = f"when std is 0, and {_BROKEN}"
_UNCONTROLLED: Final = "without control units to compare with; and likewise"
_SILENT: Final = "without contexts with a positive activation"

PLACE: Final = (
    Column("layer", INT, "From 0."),
    Column("neuron", INT, "In its layer, from 0."),
    Column("hook", TEXT, "TransformerLens' name of where it is."),
)

# What is said of one tail of a neuron. The scalars hold these for the positive tail under these
# names, and for the negative one under the names that `negative` gives.
SCORES: Final = (
    Column("status", TEXT, "What can be said of the unit in this text.", choices=STATUSES),
    Column(
        "polysemanticity",
        DOUBLE,
        "The chance that two firings, drawn by activation, differ in meaning.",
        SHARE_RANGE,
        _UNJUDGED,
        is_bounded=True,
    ),
    Column(
        "polysemanticity_low",
        DOUBLE,
        "Lower end of its 90 % interval over which contexts were drawn.",
        SHARE_RANGE,
        _UNJUDGED,
    ),
    Column("polysemanticity_high", DOUBLE, "Its upper end.", SHARE_RANGE, _UNJUDGED),
    Column(
        "score_percentile",
        DOUBLE,
        "Share of the layer's control units whose polysemanticity is lower; half of those alike.",
        SHARE_RANGE,
        _UNCONTROLLED,
        is_bounded=True,
    ),
    Column(
        "effective_senses",
        DOUBLE,
        "How many equally common, unrelated senses would give this polysemanticity.",
        "senses, from 1",
        _UNJUDGED,
        is_bounded=True,
    ),
    Column("sense_count", INT, "Senses found.", "senses", _UNJUDGED, is_bounded=True),
    Column(
        "broad_count",
        INT,
        "What is left of them when those of one field are joined.",
        "broad senses",
        _UNJUDGED,
        is_bounded=True,
    ),
    Column(
        "sure_count",
        INT,
        "Senses that are sure.",
        "senses",
        _UNJUDGED,
        is_bounded=True,
    ),
    Column(
        "unrelated",
        pa.bool_(),
        "Whether no two of its broad senses are near each other.",
        null=f"with less than two, {_UNJUDGED}",
    ),
    Column(
        "coverage",
        DOUBLE,
        "Activation-weighted share of the contexts that are in a sense.",
        SHARE_RANGE,
        _UNJUDGED,
        is_bounded=True,
    ),
    Column(
        "coverage_percentile",
        DOUBLE,
        "Share of the layer's control units whose coverage is lower; half of those alike.",
        SHARE_RANGE,
        _UNCONTROLLED,
        is_bounded=True,
    ),
    Column(
        "selectivity",
        DOUBLE,
        "How strongly and rarely it fires: deviations above the layer's median control unit.",
        "deviations",
        f"without control units to compare with; {_BROKEN}; and of a unit that never fires",
        is_bounded=True,
    ),
    Column(
        "selectivity_percentile",
        DOUBLE,
        "Share of the layer's control units whose selectivity is lower; half of those alike.",
        SHARE_RANGE,
        "like selectivity",
        is_bounded=True,
    ),
    Column(
        "monosemanticity_score",
        DOUBLE,
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
SAME_AT: Final = Column(
    "same_at",
    DOUBLE,
    "Mean chance of the same meaning from which two groups of contexts are one sense.",
    CHANCE_RANGE,
    "when senses were not asked for",
)

# What a reader is told of each tail; of neurons alone, not of control units.
MEANING: Final = Column("meaning", TEXT, "One sentence on what it fires for in this text.")
NEGATIVE_MEANING: Final = Column(
    negative("meaning"),
    TEXT,
    "Likewise, of its negative tail.",
    null="when senses were not asked for; and unless both tails ran",
)

# What a report gathers under `stats`.
STATS: Final = (
    Column("n_tokens", LONG, "Counted tokens: the denominator of what follows.", "tokens"),
    Column(
        "density",
        DOUBLE,
        "Share of the tokens with activation > 0.",
        SHARE_RANGE,
        _BROKEN,
        is_bounded=True,
    ),
    Column("mean", DOUBLE, "Over all counted tokens.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("std", DOUBLE, "Population standard deviation.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("skewness", DOUBLE, "The population's.", null=_FLAT, is_bounded=True),
    Column("kurtosis", DOUBLE, "Excess: 0 for a normal distribution.", null=_FLAT, is_bounded=True),
    Column("min", FLOAT, "Smallest activation.", ACTIVATION, _BROKEN, is_bounded=True),
    Column("max", FLOAT, "Largest activation.", ACTIVATION, _BROKEN, is_bounded=True),
)
EVIDENCE: Final = (
    Column("top_contexts", INT, "Kept in the positive top list.", CONTEXT_UNIT),
    Column("sampled_contexts", INT, "Kept in the positive sample.", CONTEXT_UNIT),
    Column(
        "distinct_contexts",
        INT,
        "Of both together, those with a positive activation.",
        CONTEXT_UNIT,
        is_bounded=True,
    ),
    Column(
        "near_duplicates",
        INT,
        "Left out of the positive lists as copies of a kept one.",
        CONTEXT_UNIT,
        is_bounded=True,
    ),
    Column("peak_token", TEXT, "The commonest token at the peaks.", null=_SILENT),
    Column(
        "peak_token_share",
        DOUBLE,
        "Of the distinct contexts, those that peak on it.",
        SHARE_RANGE,
        _SILENT,
        is_bounded=True,
    ),
    Column("peak_token_count", INT, "Different tokens at the peaks.", "tokens"),
)
LATENT: Final = (
    Column(
        "decoder_norm",
        FLOAT,
        "Length of what a latent of 1 decodes to.",
        null="but for latents of a dictionary with a decoder",
        is_bounded=True,
    ),
)
PEAK_TOKEN_IDS: Final = Column(
    "peak_token_ids", pa.list_(INT), "Those tokens, commonest first.", is_listed=False
)
PEAK_TEXTS: Final = Column(
    "peak_texts",
    pa.list_(TEXT),
    "What the documents say there where tokens read otherwise, commonest first.",
    is_listed=False,
)

# `neurons.parquet`: one row a neuron.
SCALARS: Final = (
    *PLACE, *SCORES, *NEGATIVE_SCORES, SAME_AT, MEANING, NEGATIVE_MEANING, *STATS, *EVIDENCE,
    *LATENT, PEAK_TOKEN_IDS, PEAK_TEXTS,
)  # fmt: skip
# `ghosts.parquet`: one row a control unit, by layer and number.
GHOST_SCALARS: Final = (
    PLACE[0],
    Column("ghost", INT, "In its layer, from 0."),
    *SCORES, *NEGATIVE_SCORES, SAME_AT, *STATS, *EVIDENCE,
)  # fmt: skip
LISTED: Final = tuple(c.name for c in SCALARS if c.is_listed)
BOUNDED: Final = tuple(c.name for c in SCALARS if c.is_bounded)
GHOST_LISTED: Final = tuple(c.name for c in GHOST_SCALARS if c.is_listed)
GHOST_BOUNDED: Final = tuple(c.name for c in GHOST_SCALARS if c.is_bounded)

_NO_LENS: Final = "for encoders, without a last norm, and where an output weight is not finite"
# `reports/layer-….parquet`: one row a neuron, with its contexts.
REPORTS: Final = (
    *(c for c in SCALARS if c.is_listed),
    Column("quantiles", pa.list_(FLOAT), "At `QUANTILES`, within a bin.", ACTIVATION),
    Column("histogram_first", INT, "Bin of histogram[0]; bins outside the list are empty."),
    Column("histogram", pa.list_(LONG), "Counted tokens in each bin.", "tokens"),
    list_of("bands", BAND, "The ranges that the sample was drawn from."),
    list_of("peak_tokens", PEAK_TOKEN, "Over the positive contexts, commonest first."),
    list_of("contexts", CONTEXT, "Positive top, positive sample, then negative likewise."),
    list_of("evidence", EVIDENCE_ENTRY, "Those kept beyond the shown ones, in the same order."),
    list_of("senses", SENSE, "Positive, then negative, each by share."),
    list_of("merges", MERGE, "How the contexts were grouped.", "when senses were not asked for"),
    list_of(
        negative("merges"),
        MERGE,
        "Likewise, of the negative tail.",
        "when senses were not asked for; and unless both tails ran",
    ),
    list_of("promoted", LOGIT, "Tokens whose logits it raises most.", _NO_LENS),
    list_of("suppressed", LOGIT, "Tokens whose logits it lowers most.", _NO_LENS),
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
