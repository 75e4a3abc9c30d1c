"""The result of a job: Parquet files whose schemas are the agreement between workers, who write
them, and the API.

manifest.json              what was run, on what, with what
summary.json               counts by layer and status, distributions
neurons.parquet            one row of scalars a neuron, by layer and neuron: what lists and sorts
                           read
reports/layer-003.parquet  one row a neuron with its contexts, in row groups of REPORT_ROWS: what
                           one page reads
tokens.parquet             the vocabulary: row i is the text of token i, and whether it is special
vectors.parquet            what was grouped into senses: one row a peak of some context
background.npz             what it was compared with: random tokens of the corpus
fires/layer-003.npz        which of those random tokens each neuron fires on
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from polyseme.contract.files import columns
from polyseme.contract.files.columns import schema_of, struct_of

# Of everything here and in `columns`; grows with any change a reader must know of.
FORMAT: Final = 5

MANIFEST: Final = "manifest.json"
SUMMARY: Final = "summary.json"
NEURONS: Final = "neurons.parquet"
TOKENS: Final = "tokens.parquet"
VECTORS: Final = "vectors.parquet"
BACKGROUND: Final = "background.npz"
REPORT_ROWS: Final = 64  # of a row group

# Distinct contexts below which nothing is said about a neuron's meaning.
EVIDENCE_CONTEXTS: Final = 20
# Coverage below which a neuron has no recognisable meaning.
COHERENT_COVERAGE: Final = 0.6
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


SCORES: Final = schema_of(columns.SCORES)
SCALARS: Final = schema_of(columns.SCALARS)
REPORTS: Final = schema_of(columns.REPORTS)
CONTEXT: Final = struct_of(columns.CONTEXT)
BAND: Final = struct_of(columns.BAND)
PEAK_TOKEN: Final = struct_of(columns.PEAK_TOKEN)
LOGIT: Final = struct_of(columns.LOGIT)
SENSE_TOKEN: Final = struct_of(columns.SENSE_TOKEN)
SENSE: Final = struct_of(columns.SENSE)
MERGE: Final = struct_of(columns.MERGE)
VOCABULARY: Final = pa.schema([("text", pa.string()), ("special", pa.bool_())])


def vectors_schema(width: int) -> pa.Schema:
    """By `row`: where a window came when they ran.

    The vectors are as `background.npz` projects them.
    """
    vector = pa.list_(pa.float16(), width)
    return pa.schema(
        [("row", pa.int32()), ("window", pa.int32()), ("position", pa.int32()), ("vector", vector)]
    )
