"""The result of a job: Parquet files whose schemas are the agreement between workers, who write
them, and the API.

manifest.json              what was run, on what, with what; sizes and checksums of the others
summary.json               counts by layer and status, distributions
neurons.parquet            one row of scalars a neuron, by layer and neuron: what lists and sorts
                           read
reports/layer-003.parquet  one row a neuron with its contexts, in row groups of REPORT_ROWS: what
                           one page reads
tokens.parquet             the vocabulary: row i is the text of token i, and whether it is special
vectors.parquet            what was grouped into senses: one row a peak of some context
background.npz             what it was compared with: random tokens of the corpus
languages.npz              which language each document is in, where the corpus says it of some
ghosts.parquet             one row of scalars a control unit, by layer and number: of each number
                           about meaning, what chance gives
ghosts/layer-003.parquet   one row a control unit with its contexts
fires/layer-003.npz        which of those random tokens each neuron fires on, and each control unit
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from polyseme.contract.files import columns, entries
from polyseme.contract.files.column import schema_of, struct_of

# Of everything here and in `columns`; grows with any change a reader must know of.
FORMAT: Final = 7

MANIFEST: Final = "manifest.json"
SUMMARY: Final = "summary.json"
NEURONS: Final = "neurons.parquet"
GHOSTS: Final = "ghosts.parquet"
TOKENS: Final = "tokens.parquet"
VECTORS: Final = "vectors.parquet"
BACKGROUND: Final = "background.npz"
LANGUAGES: Final = "languages.npz"
REPORT_ROWS: Final = 64  # of a row group

# Distinct contexts below which nothing is said about a neuron's meaning.
EVIDENCE_CONTEXTS: Final = 10
# Replication from which a sense is sure.
SURE: Final = 0.8
# Chance that a control unit is as selective, up to which something is claimed of a unit; of latents
# that it has as much coverage.
CLAIMED: Final = 0.05
# Share of a neuron's contexts: a smaller group is no sense, whatever `min_contexts` says.
SMALLEST_SENSE: Final = 0.05

QUANTILES: Final = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)

# The histogram has the same bins for every neuron: four an octave of magnitude, for each sign, and
# one for exact zero. A bin is the top bits of a float32, so it costs no arithmetic and its edges
# cannot move while streaming.
BINS_PER_OCTAVE: Final = 4
LOWEST_OCTAVE: Final = -16
OCTAVES: Final = 32
MAGNITUDES: Final = OCTAVES * BINS_PER_OCTAVE
ZERO_BIN: Final = MAGNITUDES
BINS: Final = 2 * MAGNITUDES + 1


def histogram_edges() -> list[float]:
    """BINS + 1 ascending edges. 0 stands twice: the bin between is exact zero.

    The outer bins are open-ended.
    """
    octaves = range(LOWEST_OCTAVE, LOWEST_OCTAVE + OCTAVES)
    steps = [2.0**o * (1 + s / BINS_PER_OCTAVE) for o in octaves for s in range(BINS_PER_OCTAVE)]
    positive = [*steps[1:], 2.0 ** (LOWEST_OCTAVE + OCTAVES)]
    return [-e for e in reversed(positive)] + [0.0, 0.0] + positive


def report_file(layer: int) -> str:
    return f"reports/layer-{layer:03d}.parquet"


def fires_file(layer: int) -> str:
    return f"fires/layer-{layer:03d}.npz"


def ghosts_file(layer: int) -> str:
    return f"ghosts/layer-{layer:03d}.parquet"


def fill_up(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the columns that a version which knew fewer has not written: null, behind the others."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


SCORES: Final = schema_of(columns.SCORES)
SCALARS: Final = schema_of(columns.SCALARS)
GHOST_SCALARS: Final = schema_of(columns.GHOST_SCALARS)
REPORTS: Final = schema_of(columns.REPORTS)
CONTEXT: Final = struct_of(entries.CONTEXT)
EVIDENCE_ENTRY: Final = struct_of(entries.EVIDENCE_ENTRY)
# Of a layer's control units: what senses are made anew from.
GHOST_CONTEXTS: Final = pa.schema([("ghost", pa.int32()), ("evidence", pa.list_(EVIDENCE_ENTRY))])
BAND: Final = struct_of(entries.BAND)
PEAK_TOKEN: Final = struct_of(entries.PEAK_TOKEN)
LOGIT: Final = struct_of(entries.LOGIT)
SENSE_TOKEN: Final = struct_of(entries.SENSE_TOKEN)
LANGUAGE: Final = struct_of(entries.LANGUAGE)
SENSE: Final = struct_of(entries.SENSE)
MERGE: Final = struct_of(entries.MERGE)
VOCABULARY: Final = pa.schema([("text", pa.string()), ("special", pa.bool_())])


def vectors_schema(width: int) -> pa.Schema:
    """By `row`: where a window came when they ran.

    The vectors are as `background.npz` projects them. `token` stands there, and `word` is the whole
    word around it, in its own case; `before` and `after` are up to 32 characters beside the word,
    U+FFFD beyond the window's end where its document goes on; `near` are the tokens up to four
    places around it, itself in the middle, -1 outside of the window.
    """
    return pa.schema(
        [
            ("row", pa.int32()),
            ("window", pa.int32()),
            ("position", pa.int32()),
            ("token", pa.int32()),
            ("word", pa.string()),
            ("before", pa.string()),
            ("after", pa.string()),
            ("near", pa.list_(pa.int32(), 9)),
            ("vector", pa.list_(pa.float16(), width)),
        ]
    )
