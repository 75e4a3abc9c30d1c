"""What the entries of a report's lists are made of, such as contexts and senses: each field is
declared once.

Knows no column of a neuron.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from polyseme.contract.files.column import (
    ACTIVATION,
    CHANCE_RANGE,
    CONTEXT_UNIT,
    FLOAT,
    INT,
    LOGIT_UNIT,
    LONG,
    SHARE_RANGE,
    TAILS,
    TEXT,
    Column,
    list_of,
)

_TEXTLESS: Final = "when it stands for none of it, as a special token does"
_TAIL: Final = Column("tail", TEXT, "Of the neuron's two.", choices=TAILS)
_TOKEN: Final = Column("token", INT, "Row in the vocabulary.")

SAMPLES: Final = ("top", "activation", "interval", "quantile")
CONTEXT: Final = (
    _TAIL,
    Column("sample", TEXT, "How it was chosen.", choices=SAMPLES),
    Column("band", INT, "Of the sample, 0 the weakest.", null="for top and activation"),
    Column("document", INT, "Number in the corpus."),
    Column("window", INT, "Number through the corpus."),
    Column("position", INT, "Of the peak in its window."),
    Column("char_start", INT, "Of the peak token in its document.", "characters"),
    Column("char_end", INT, "One past its last character.", "characters"),
    Column("activation", FLOAT, "At the peak, exact.", ACTIVATION),
    Column("sense", INT, "Of its tail.", null="when it is in none"),
    Column("display_start", INT, "Position of tokens[0] in the window."),
    Column("tokens", pa.list_(INT), "Around the peak, as rows of the vocabulary."),
    Column(
        "activations",
        pa.list_(FLOAT),
        "Of those tokens, uncounted ones too; rounded to float16 but at the peak: beyond 65504 it "
        "is 65504, below 3e-8 it is 0.",
        ACTIVATION,
    ),
    Column("text", TEXT, "What the shown tokens span of the peak's document."),
    Column("peak_start", INT, "Of the peak token in `text`.", "characters", _TEXTLESS),
    Column("peak_end", INT, "One past its last character.", "characters", _TEXTLESS),
    Column(
        "token_starts",
        pa.list_(INT),
        "Of each of `tokens` in `text`; null for one that stands for none of it.",
        "characters",
    ),
    Column("token_ends", pa.list_(INT), "One past its last character; likewise.", "characters"),
)
# A context that is kept for its meaning alone: its text can be cut from the corpus by its place.
EVIDENCE_ENTRY: Final = (
    *(
        c
        for c in CONTEXT
        if c.name
        in ("tail", "sample", "band", "document", "window", "position", "char_start", "char_end")
    ),
    Column("activation", FLOAT, "At the peak, exact.", ACTIVATION),
    _TOKEN,
    Column("sense", INT, "Of its tail.", null="when it is in none"),
)
BAND: Final = (
    _TAIL,
    Column("band", INT, "From 0, the weakest."),
    Column("low", FLOAT, "Exclusive.", ACTIVATION, "when no finite number bounds it"),
    Column("high", FLOAT, "Inclusive.", ACTIVATION, "when it has no upper end"),
    Column("windows", LONG, "Of the corpus, whose peak lies inside.", "windows"),
)
PEAK_TOKEN: Final = (
    _TOKEN,
    Column("count", INT, "Contexts that peak on it.", CONTEXT_UNIT),
    Column("mean", FLOAT, "Of their peaks.", ACTIVATION),
    Column("max", FLOAT, "Of their peaks.", ACTIVATION),
)
LOGIT: Final = (
    _TOKEN,
    Column("logit", FLOAT, "What one unit of activation adds to it.", LOGIT_UNIT),
)
SENSE_TOKEN: Final = (
    _TOKEN,
    Column("at", TEXT, "At the peaks, or within a few tokens of them.", choices=("peak", "near")),
    Column("count", INT, "Contexts of the sense that hold it there.", CONTEXT_UNIT),
    Column(
        "z", FLOAT, "Log-odds against the corpus, in standard deviations.", "standard deviations"
    ),
)
LANGUAGE: Final = (
    Column(
        "language",
        TEXT,
        "As the documents name theirs, such as de; where one names none, the script as Unicode "
        "names it, such as Latin.",
    ),
    Column("share", FLOAT, "Of the sense's firing.", SHARE_RANGE),
)
SENSE: Final = (
    _TAIL,
    Column("sense", INT, "0 has the largest share of its tail."),
    Column("name", TEXT, "What its peaks have in common, in words."),
    Column("share", FLOAT, "Activation-weighted; they sum to 1 over a tail.", SHARE_RANGE),
    Column("size", INT, "Contexts.", CONTEXT_UNIT),
    Column(
        "replication",
        FLOAT,
        "The chance that it comes again in other documents of this kind.",
        CHANCE_RANGE,
    ),
    Column("sure", pa.bool_(), "Whether that chance is at least 0.8; else it is tentative."),
    Column(
        "broad",
        INT,
        "Number of its broad sense in its tail: senses of one field of things have the same.",
    ),
    Column(
        "within",
        FLOAT,
        "Mean chance that two of its contexts mean the same.",
        CHANCE_RANGE,
    ),
    Column(
        "between",
        FLOAT,
        "The largest such mean with the contexts of another sense.",
        CHANCE_RANGE,
        "for an only sense",
    ),
    Column(
        "medoid",
        INT,
        "Index in `contexts` of the shown one that is most alike to all others.",
        null="when none of its contexts is shown",
    ),
    Column("activation_min", FLOAT, "Of its contexts, without the tail's sign.", ACTIVATION),
    Column("activation_median", FLOAT, "Likewise.", ACTIVATION),
    Column("activation_max", FLOAT, "Likewise.", ACTIVATION),
    Column("lexical_diversity", FLOAT, "Different peak tokens by contexts.", SHARE_RANGE),
    Column(
        "auprc",
        FLOAT,
        "How well nearness to the sense tells on which random tokens the neuron fires.",
        SHARE_RANGE,
        "when it fires on fewer than five of them",
    ),
    Column(
        "auprc_baseline",
        FLOAT,
        "What a random ranking reaches.",
        SHARE_RANGE,
        "likewise",
    ),
    list_of("languages", LANGUAGE, "Those of a twentieth of its firing or more, by share."),
    list_of("tokens", SENSE_TOKEN, "Those that set it apart, most so first."),
)
# One step of the agglomeration of a tail's n contexts with a positive activation on it, numbered in
# the order of `contexts` and behind them that of `evidence`. The pieces are contexts 0 to n - 1;
# step i makes piece n + i.
MERGE: Final = (
    Column("left", pa.int16(), "A piece."),
    Column("right", pa.int16(), "Another."),
    Column("same_at", FLOAT, "The largest `same_at` at which the two are one sense.", CHANCE_RANGE),
)
