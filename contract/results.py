"""The result of a job: Parquet files whose schemas are the agreement between workers, who write them, and the API.

manifest.json              what was run, on what, with what
summary.json               counts by layer and status, distributions
neurons.parquet            one row of scalars a neuron, by layer and neuron: what lists and sorts read
reports/layer-003.parquet  one row a neuron with its contexts, in row groups of REPORT_ROWS: what one page reads
tokens.parquet             the vocabulary: row i is the text of token i
vectors.parquet            what was grouped into senses: one row a peak of some context
background.npz             what it was compared with: random tokens of the corpus
fires/layer-003.npz        which of those random tokens each neuron fires on
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

FORMAT: Final = 4  # of everything in this module; grows with any change a reader must know of

MANIFEST: Final = "manifest.json"
SUMMARY: Final = "summary.json"
NEURONS: Final = "neurons.parquet"
TOKENS: Final = "tokens.parquet"
VECTORS: Final = "vectors.parquet"
BACKGROUND: Final = "background.npz"
REPORT_ROWS: Final = 64  # results of earlier versions have 32

EVIDENCE_CONTEXTS: Final = 20  # distinct contexts below which nothing is said about a neuron's meaning

COHERENT_COVERAGE: Final = 0.6  # coverage below which a neuron has no recognisable meaning

SMALLEST_SENSE: Final = 0.05  # share of a neuron's contexts: a smaller group is no sense, whatever `min_contexts` says

STATUSES: Final = ("monosemantic", "polysemantic", "incoherent", "insufficient_evidence", "not_scored")

QUANTILES: Final = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)

# The histogram has the same bins for every neuron: four an octave of magnitude, for each sign, and one for exact zero.
# A bin is the top bits of a float32, so it costs no arithmetic and its edges cannot move while streaming.
BINS_PER_OCTAVE: Final = 4
LOWEST_OCTAVE: Final = -16
OCTAVES: Final = 32
MAGNITUDES: Final = OCTAVES * BINS_PER_OCTAVE
ZERO_BIN: Final = MAGNITUDES
BINS: Final = 2 * MAGNITUDES + 1


def histogram_edges() -> list[float]:
    """BINS + 1 ascending edges. 0 stands twice: the bin between is exact zero. The outer bins are open-ended."""
    octaves = range(LOWEST_OCTAVE, LOWEST_OCTAVE + OCTAVES)
    steps = [2.0**o * (1 + s / BINS_PER_OCTAVE) for o in octaves for s in range(BINS_PER_OCTAVE)]
    positive = [*steps[1:], 2.0 ** (LOWEST_OCTAVE + OCTAVES)]
    return [-e for e in reversed(positive)] + [0.0, 0.0] + positive


def report_file(layer: int) -> str:
    return f"reports/layer-{layer:03d}.parquet"


def fires_file(layer: int) -> str:
    return f"fires/layer-{layer:03d}.npz"


# What is said of one tail of a neuron. The scalars hold these for the positive tail under these names, and for the
# negative one, null when it was not asked for, under the names that `negative` gives.
SCORES: Final = pa.schema(
    [
        ("status", pa.string()),  # one of STATUSES
        ("polysemanticity", pa.float64()),  # 0..1; null unless monosemantic or polysemantic; so the next three
        ("polysemanticity_low", pa.float64()),  # ends of the 90 % bootstrap interval
        ("polysemanticity_high", pa.float64()),
        ("effective_senses", pa.float64()),  # 1.. ; the exponential of the shares' entropy
        ("sense_count", pa.int32()),  # null when there is too little evidence, or senses were not asked for
        ("coverage", pa.float64()),  # 0..1, activation-weighted, of the contexts; null likewise
        ("monosemanticity_score", pa.float64()),  # -1..1; null likewise
    ]
)


def negative(name: str) -> str:
    """The negative tail's column."""
    return f"negative_{name}"


SCALARS: Final = pa.schema(
    [
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        ("hook", pa.string()),  # TransformerLens' name
        *SCORES,
        *(pa.field(negative(f.name), f.type) for f in SCORES),
        ("alpha", pa.float64()),  # with which senses were told apart; null when they were not asked for
        ("n_tokens", pa.int64()),  # counted tokens, the denominator of everything below
        ("density", pa.float64()),  # 0..1, share of tokens with activation > 0
        ("mean", pa.float64()),
        ("std", pa.float64()),  # population
        ("skewness", pa.float64()),  # null when std is 0
        ("kurtosis", pa.float64()),  # excess: 0 for a normal distribution; null when std is 0
        ("min", pa.float32()),
        ("max", pa.float32()),
        ("top_contexts", pa.int32()),  # kept in the positive list
        ("sampled_contexts", pa.int32()),  # of the positive tail
        ("distinct_contexts", pa.int32()),  # both together
        ("near_duplicates", pa.int32()),  # contexts dropped from the positive lists as copies of a kept one
        ("peak_token", pa.string()),  # the commonest token at the peaks; null without contexts
        ("peak_token_share", pa.float64()),  # 0..1, of the distinct contexts
        ("peak_token_count", pa.int32()),  # different tokens at the peaks
        ("peak_token_ids", pa.list_(pa.int32())),  # those tokens, commonest first
    ]
)

CONTEXT: Final = pa.struct(
    [
        ("tail", pa.string()),  # positive, negative
        ("sample", pa.string()),  # top, interval, quantile
        ("band", pa.int32()),  # 0 the weakest; null for top
        ("document", pa.int32()),
        ("window", pa.int32()),  # numbered through the corpus
        ("position", pa.int32()),  # of the peak in its window
        ("char_start", pa.int32()),  # of the peak token in its document
        ("char_end", pa.int32()),
        ("activation", pa.float32()),  # exact
        ("sense", pa.int32()),  # of its tail; null when in none
        ("display_start", pa.int32()),  # position of tokens[0] in the window
        ("tokens", pa.list_(pa.int32())),
        ("activations", pa.list_(pa.float32())),  # rounded to float16 except at the peak; of uncounted tokens too
    ]
)

BAND: Final = pa.struct(
    [
        ("tail", pa.string()),
        ("band", pa.int32()),
        ("low", pa.float32()),  # exclusive
        ("high", pa.float32()),  # inclusive; null: no upper end
        ("windows", pa.int64()),  # windows of the corpus whose peak lies in the band
    ]
)

PEAK_TOKEN: Final = pa.struct(
    [("token", pa.int32()), ("count", pa.int32()), ("mean", pa.float32()), ("max", pa.float32())]
)

LOGIT: Final = pa.struct([("token", pa.int32()), ("logit", pa.float32())])

SENSE_TOKEN: Final = pa.struct(
    [
        ("token", pa.int32()),
        ("at", pa.string()),  # peak: it stands at the peaks; near: within a few tokens of them
        ("count", pa.int32()),  # contexts of the sense that hold it there
        ("z", pa.float32()),  # log-odds against the corpus, in standard deviations
    ]
)

SENSE: Final = pa.struct(
    [
        ("tail", pa.string()),
        ("sense", pa.int32()),  # 0 has the largest share of its tail
        ("share", pa.float32()),  # 0..1, activation-weighted, sums to 1 over a tail's senses
        ("size", pa.int32()),  # contexts
        ("cohesion", pa.float32()),  # mean distance inside, as a quantile of random pairs: 0 tight, 1 random
        (
            "separation",
            pa.float32(),
        ),  # mean distance to the nearest other sense, likewise; null when it is the only one
        ("medoid", pa.int32()),  # index in `contexts` of the one nearest to all others
        ("activation_min", pa.float32()),
        ("activation_median", pa.float32()),
        ("activation_max", pa.float32()),
        ("lexical_diversity", pa.float32()),  # 0..1, different peak tokens by contexts
        ("auprc", pa.float32()),  # 0..1, nearness to the sense as a predictor of firing; null with few firings
        ("auprc_baseline", pa.float32()),  # what a random predictor reaches: the share of random tokens it fires on
        ("tokens", pa.list_(SENSE_TOKEN)),  # characteristic ones, most so first
    ]
)

# One step of the agglomeration of a tail's n contexts with a positive activation on it, numbered in their order. The
# pieces are contexts 0 to n - 1; step i makes piece n + i.
MERGE: Final = pa.struct(
    [
        ("left", pa.int16()),
        ("right", pa.int16()),
        ("height", pa.float32()),  # the smallest alpha at which the two are one sense
    ]
)

REPORTS: Final = pa.schema(
    [f for f in SCALARS if f.name != "peak_token_ids"]
    + [
        pa.field("quantiles", pa.list_(pa.float32())),  # at QUANTILES, within one bin of the histogram
        pa.field("histogram_first", pa.int32()),  # bin of histogram[0]; bins outside the list are empty
        pa.field("histogram", pa.list_(pa.int64())),
        pa.field("bands", pa.list_(BAND)),
        pa.field("peak_tokens", pa.list_(PEAK_TOKEN)),  # over the positive contexts, commonest first
        pa.field("contexts", pa.list_(CONTEXT)),  # positive top, positive sample, negative top, negative sample
        pa.field("senses", pa.list_(SENSE)),  # positive, then negative, each by share
        pa.field("merges", pa.list_(MERGE)),  # null when senses were not asked for
        pa.field(negative("merges"), pa.list_(MERGE)),
        pa.field("promoted", pa.list_(LOGIT)),  # null for encoders
        pa.field("suppressed", pa.list_(LOGIT)),
    ]
)

VOCABULARY: Final = pa.schema([("text", pa.string())])


def vectors_schema(width: int) -> pa.Schema:
    """By `row`: where a window came when they ran. The vectors are as `background.npz` projects them."""
    vector = pa.list_(pa.float16(), width)
    return pa.schema([("row", pa.int32()), ("window", pa.int32()), ("position", pa.int32()), ("vector", vector)])
