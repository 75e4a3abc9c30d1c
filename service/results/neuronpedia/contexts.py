"""Contexts of a layer's report file as parts of JSON lines.

57 million tokens of a small model go through here, so tokens and activations become JSON as whole
columns, in Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyseme.service.results.neuronpedia.origin import Row, Texts
from polyseme.service.results.neuronpedia.words import cut_words, find_plain, quote_words

LONGEST: Final = 1024  # tokens of a context

_FLOAT16_STEP: Final = 2.0**-10  # relative; but for peaks, activations are stored as float16
_JUST_BELOW: Final = 1e-5  # relative; shows in six digits
_COLUMNS: Final = (
    "neuron",
    "status",
    "meaning",
    "density",
    "n_tokens",
    "max",
    "histogram_first",
    "histogram",
    "bands",
    "promoted",
    "decoder_norm",
)
_CONTEXT: Final = ("tail", "sample", "band", "document", "position", "display_start", "activation")


def read_neurons(path: str, texts: Texts) -> Iterator[tuple[Row, list[Row]]]:
    """Each neuron of a layer's report file with its contexts, a row group in memory at a time."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(
                group, [*_COLUMNS, "hook", "suppressed", "contexts"], use_threads=False
            )
            neurons = table.drop_columns(["contexts"]).to_pylist()
            scales = [scale_of(neuron) for neuron in neurons]
            contexts = table["contexts"].combine_chunks()
            yield from zip(neurons, _read_contexts(contexts, scales, texts), strict=True)


def scale_of(neuron: Row) -> float:
    """By what a unit's activations are multiplied: Neuronpedia makes a dictionary's decoder vectors
    of length 1, and its latents as much larger.
    """
    norm: float | None = neuron.get("decoder_norm")
    return 1.0 if norm is None else norm


def _read_contexts(
    column: pa.ListArray, scales: Sequence[float], texts: Texts
) -> Iterator[list[Row]]:
    """Each neuron's contexts, with `shown`, their part of a line, and `text`, their activation as
    JSON.
    """
    parts = dict(
        zip((f.name for f in column.type.value_type), column.values.flatten(), strict=True)
    )
    if any(scale != 1 for scale in scales):
        of_contexts = pa.array(scales, pa.float32()).take(pc.list_parent_indices(column))
        parts |= _multiply(parts["activation"], parts["activations"], of_contexts)
    names = (*_CONTEXT, "text")
    plain = [
        *(parts[name].to_pylist() for name in _CONTEXT),
        parts["activation"].cast(pa.string()).to_pylist(),
    ]
    rows: list[Row] = [dict(zip(names, row, strict=True)) for row in zip(*plain, strict=True)]
    for row, shown in zip(rows, _show_contexts(rows, parts, texts), strict=True):
        row["shown"] = shown
    ends = column.offsets.to_pylist()
    return (rows[first:end] for first, end in pairwise(ends))


def _multiply(peaks: pa.Array, lists: pa.ListArray, scales: pa.Array) -> dict[str, pa.Array]:
    """The activations of contexts, each multiplied by its scale. lists: of their tokens."""
    of_tokens = scales.take(pc.list_parent_indices(lists))
    starts = pc.subtract(lists.offsets, lists.offsets[0])
    scaled = pc.multiply(lists.flatten(), of_tokens)
    return {
        "activation": pc.multiply(peaks, scales),
        "activations": pa.ListArray.from_arrays(starts, scaled),
    }


def _show_contexts(
    rows: Sequence[Row], parts: Mapping[str, pa.Array], texts: Texts
) -> Iterator[str]:
    tokens, values = parts["tokens"], parts["activations"]
    peaks = [row["position"] - row["display_start"] for row in rows]
    ids, flat = tokens.flatten(), values.flatten()
    is_plain = find_plain(tokens, parts["text"], texts.spoken.take(ids))
    joined = (
        _join_lists(tokens, texts.tokens.take(ids)),
        _join_lists(values, flat.cast(pa.string())),
    )
    least, firsts = _find_extremes(values, flat)
    sizes = pc.list_value_length(tokens).to_pylist()
    columns = (*(c.to_pylist() for c in joined), least.cast(pa.string()).to_pylist(), firsts, sizes)
    for i, (row, peak, words, numbers, low, first, size) in enumerate(
        zip(rows, peaks, *columns, strict=True)
    ):
        if not is_shown(row):
            yield ""
            continue
        own = None if is_plain[i] else _quote_context(parts, i, peak, texts)
        if first == peak and size <= LONGEST:
            shown = words if own is None else ",".join(own)
            yield _show_context(shown, numbers, row["text"], peak, low)
        else:
            own = own or texts.tokens.take(tokens[i].values).to_pylist()
            yield _show_adjusted(own, values[i].as_py(), peak, row["text"])


def _quote_context(parts: Mapping[str, pa.Array], i: int, peak: int, texts: Texts) -> list[str]:
    """The JSON of each token of a context, as it stands in the document."""
    text, starts, ends = (parts[n][i].as_py() for n in ("text", "token_starts", "token_ends"))
    tokens = texts.tokens.take(parts["tokens"][i].values).to_pylist()
    return quote_words(cut_words(text, starts, ends, peak), tokens)


def _join_lists(lists: pa.ListArray, texts: pa.Array) -> pa.Array:
    """The texts, one for each entry of the lists, put together with commas list by list."""
    starts = pc.subtract(lists.offsets, lists.offsets[0])
    return pc.binary_join(pa.ListArray.from_arrays(starts, texts), ",")


def _find_extremes(lists: pa.ListArray, flat: pa.Array) -> tuple[pa.Array, list[int]]:
    """The least value of each list, and where its largest one is first. flat: the lists' values;
    none is empty.
    """
    owners = pc.list_parent_indices(lists)
    by_owner = pa.table({"owner": owners, "value": flat}).group_by("owner", use_threads=False)
    ends = by_owner.aggregate([("value", "min"), ("value", "max")])
    largest = pc.indices_nonzero(pc.equal(flat, ends["value_max"].combine_chunks().take(owners)))
    starts = pc.subtract(lists.offsets, lists.offsets[0]).to_pylist()
    firsts = [-1] * len(lists)
    for owner, place in zip(owners.take(largest).to_pylist(), largest.to_pylist(), strict=True):
        if firsts[owner] < 0:
            firsts[owner] = place - starts[owner]
    return ends["value_min"].combine_chunks(), firsts


def is_shown(context: Row) -> bool:
    return bool(context["tail"] == "positive" and context["activation"] > 0)


def _show_context(tokens: str, values: str, top: str, peak: int, low: str) -> str:
    """A context's tokens, its values, and what is said of its peak; all but `peak` are JSON."""
    return (
        f'"tokens":[{tokens}],"values":[{values}],"maxValue":{top},'
        f'"maxValueTokenIndex":{peak},"minValue":{low},"qualifyingTokenIndex":{peak}'
    )


def _show_adjusted(words: Sequence[str], values: list[float], peak: int, top: str) -> str:
    """Likewise, of a context that is too long, or whose peak is not its first largest value as it
    stands. words: the JSON of each token.
    """
    start = max(min(peak - LONGEST // 2, len(words) - LONGEST), 0)
    kept = pa.array(lower_others(values[start : start + LONGEST], peak - start), pa.float32())
    shown = kept.cast(pa.string()).to_pylist()
    low = pa.array([pc.min(kept).as_py()], pa.float32()).cast(pa.string())[0].as_py()
    return _show_context(
        ",".join(words[start : start + LONGEST]), ",".join(shown), top, peak - start, low
    )


def lower_others(values: Sequence[float], peak: int) -> list[float]:
    """The values with none as large as the peak's, which is positive.

    What only rounding made larger becomes a little smaller than it. What is larger still stands at
    a token that is not counted, such as a special one, and becomes 0.
    """
    top = values[peak]
    below, rounded = top * (1 - _JUST_BELOW), top * (1 + _FLOAT16_STEP)
    return [
        v if i == peak or v < below else below if v <= rounded else 0.0
        for i, v in enumerate(values)
    ]
