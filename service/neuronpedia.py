"""A result as Neuronpedia imports it: a zip with a folder a layer, of features and activations in gzipped JSON lines.

Sources: `SAEDashboard` (neuronpedia_converter.py), and Neuronpedia's own converter, database models and importer. What
a result does not hold in their form is derived here, and docs/neuronpedia.md says how.

57 million tokens of a small model go through here, so tokens and activations become JSON as whole columns, in Arrow.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contract.records import Job
from contract.results import MAGNITUDES, ZERO_BIN, histogram_edges, report_file
from service.answers import timestamp
from service.exports import Sink
from service.results import Results

FEATURES_A_FILE: Final = 128
LONGEST: Final = 1024  # tokens of a context
MOST_LOGITS: Final = 20  # a side
BARS: Final = 50
SOURCE_SET: Final = "neurons"  # a source whose name is a whole number belongs to it

_LEVEL: Final = 1  # of gzip: a sixth more bytes than level 6, in a quarter of its time
_FLOAT16_STEP: Final = 2.0**-10  # relative; but for peaks, activations are stored as float16
_JUST_BELOW: Final = 1e-5  # relative; shows in six digits

_EDGES: Final = histogram_edges()[ZERO_BIN + 1 :]  # of the positive bins
_COLUMNS: Final = ("neuron", "density", "n_tokens", "max", "histogram_first", "histogram", "bands", "promoted")
_CONTEXT: Final = ("tail", "sample", "band", "document", "position", "display_start", "activation")

Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What every record of a bundle says of where it is from."""

    job: str
    model: str  # modelId
    creator: str  # creatorId: a user's id in the database that imports
    created_at: float
    corpus: str
    window: int  # tokens
    layers: int  # of the result
    neurons: int  # a layer


def describe_origin(results: Results, job: Job, model: str | None, creator: str | None) -> Origin:
    """model, creator: as the importing Neuronpedia calls them; None for this service's names."""
    scalars = results.scalars(job.id).table
    layers = len(pc.unique(scalars["layer"]))
    return Origin(
        job=job.id,
        model=model or job.request["model"],
        creator=creator or "polyseme",
        created_at=job.finished_at or job.created_at,
        corpus=job.request["corpus"]["id"],
        window=job.request["contexts"]["window"],
        layers=layers,
        neurons=len(scalars) // layers,
    )


class Texts:
    """JSON of what comes again and again in one layer."""

    def __init__(self, origin: Origin, layer: int, tokens: pa.Array) -> None:
        self.tokens = tokens  # of the vocabulary
        self.job = f"{origin.job}-{layer}"
        self.owner = f'"modelId":{json.dumps(origin.model)},"layer":"{layer}","index":'
        self.source = f'"dataSource":{json.dumps(origin.corpus)}'
        self.stamp = f'"creatorId":{json.dumps(origin.creator)},"createdAt":"{timestamp(origin.created_at)}"'


def number(value: float) -> str:
    """JSON, to six significant digits."""
    return format(value, ".6g")


def stream_bundle(results: Results, origin: Origin, layers: Sequence[int]) -> Iterator[bytes]:
    """The zip; stored, because its files are compressed. A batch of neurons is in memory at a time."""
    tokens = pa.array([json.dumps(t) for t in results.vocabulary(origin.job).texts.to_pylist()], pa.string())
    moment = datetime.fromtimestamp(origin.created_at, UTC).timetuple()[:6]
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for layer in layers:
            path = results.local_file(origin.job, report_file(layer))
            for name, body in _files_of_layer(path, origin, layer, Texts(origin, layer, tokens)):
                archive.writestr(zipfile.ZipInfo(f"{origin.model}/{layer}/{name}", moment), body)
                yield sink.take()
    yield sink.take()


def _files_of_layer(path: str, origin: Origin, layer: int, texts: Texts) -> Iterator[tuple[str, bytes]]:
    for name, record in _describe_source(origin, layer).items():
        yield f"{name}.jsonl", f"{json.dumps(record)}\n".encode()
    for number, batch in enumerate(_batches(_read_neurons(path, texts))):
        features, activations = [], []
        for neuron, contexts in batch:
            feature, lines = describe_neuron(neuron, contexts, texts)
            features.append(feature)
            activations += lines
        yield f"features/batch-{number}.jsonl.gz", _pack(features)
        yield f"activations/batch-{number}.jsonl.gz", _pack(activations)


def describe_neuron(neuron: Row, contexts: Iterable[Row], texts: Texts) -> tuple[str, list[str]]:
    """The line of a feature, and those of its activations: contexts of the positive tail that fire."""
    counts = Counts.of(neuron)
    shown = [c for c in contexts if is_shown(c)]
    top = max(shown, key=lambda c: c["activation"])["text"] if shown else "0"
    bins = _find_bins(neuron, counts, top)
    index = neuron["neuron"]
    lines = [
        f'{{"id":"{texts.job}-{index}-{i}",{texts.owner}"{index}",{c["shown"]},{bins[c["band"]]},'
        f'"dataIndex":"{c["document"]}",{texts.source},{_UNKNOWN},{texts.stamp}}}'
        for i, c in enumerate(shown)
    ]
    return f'{{{texts.owner}"{index}",{_show_feature(neuron, counts, top, texts)},{texts.stamp}}}', lines


def is_shown(context: Row) -> bool:
    return bool(context["tail"] == "positive" and context["activation"] > 0)


# What a result does not hold; the importer's tables have defaults for what is left out.
_UNKNOWN: Final = '"dfaValues":[],"dfaTargetIndex":null,"dfaMaxValue":null,"lossValues":[],"logitContributions":null'
_NO_VECTOR: Final = '"hasVector":false,"vector":[],"vectorLabel":null,"topkCosSimIndices":[],"topkCosSimValues":[]'
_NO_TABLES: Final = ",".join(
    f'"{name}":[]'
    for name in (
        *(f"neuron_alignment_{part}" for part in ("indices", "values", "l1")),
        *(f"correlated_{what}_{part}" for what in ("neurons", "features") for part in ("indices", "pearson", "l1")),
        "logits_hist_data_bar_heights",
        "logits_hist_data_bar_values",
        "decoder_weights_dist",
    )
)


def _show_feature(neuron: Row, counts: Counts, top: str, texts: Texts) -> str:
    heights, values = counts.bars()
    return ",".join(
        [
            f'"maxActApprox":{top}',
            f'"frac_nonzero":{number(neuron["density"])}',
            _show_logits("pos", neuron["promoted"], texts),
            _show_logits("neg", neuron["suppressed"], texts),
            f'"freq_hist_data_bar_heights":{heights}',
            f'"freq_hist_data_bar_values":{_join(map(number, values))}',
            f'"hookName":{json.dumps(neuron["hook"])}',
            _NO_VECTOR,
            _NO_TABLES,
        ]
    )


def _show_logits(side: str, logits: Sequence[Row] | None, texts: Texts) -> str:
    found = (logits or ())[:MOST_LOGITS]
    tokens = _join(texts.tokens.take(pa.array([e["token"] for e in found], pa.int32())).to_pylist())
    return f'"{side}_str":{tokens},"{side}_values":{_join(number(e["logit"]) for e in found)}'


def _show_context(tokens: str, values: str, top: str, peak: int, low: str) -> str:
    """A context's tokens, its values, and what is said of its peak; all but `peak` are JSON."""
    return (
        f'"tokens":[{tokens}],"values":[{values}],"maxValue":{top},"maxValueTokenIndex":{peak},"minValue":{low},'
        f'"qualifyingTokenIndex":{peak}'
    )


def _show_odd(tokens: pa.Array, values: list[float], peak: int, top: str, texts: Texts) -> str:
    """Likewise, of a context that is too long, or whose peak is not its first largest value as it stands."""
    start = max(min(peak - LONGEST // 2, len(tokens) - LONGEST), 0)
    kept = pa.array(lower_others(values[start : start + LONGEST], peak - start), pa.float32())
    shown = kept.cast(pa.string()).to_pylist()
    words = texts.tokens.take(tokens[start : start + LONGEST]).to_pylist()
    low = pa.array([pc.min(kept).as_py()], pa.float32()).cast(pa.string())[0].as_py()
    return _show_context(",".join(words), ",".join(shown), top, peak - start, low)


def lower_others(values: Sequence[float], peak: int) -> list[float]:
    """The values with none as large as the peak's, which is positive.

    What only rounding made larger becomes a little smaller than it. What is larger still stands at a token that is not
    counted, such as a special one, and becomes 0.
    """
    top = values[peak]
    below, rounded = top * (1 - _JUST_BELOW), top * (1 + _FLOAT16_STEP)
    return [v if i == peak or v < below else below if v <= rounded else 0.0 for i, v in enumerate(values)]


def _find_bins(neuron: Row, counts: Counts, top: str) -> dict[int | None, str]:
    """What is said of the bin of a context, by its band; None is the top group's."""
    bins: dict[int | None, str] = {None: f'"binMin":-1,"binMax":{top},"binContains":-1'}
    for band in neuron["bands"] or ():
        # A band that begins at infinity is empty: no calibration window had a positive peak.
        if band["tail"] == "positive" and band["low"] is not None:
            low, high = band["low"], counts.top if band["high"] is None else band["high"]
            share = counts.share(low, high)
            bins[band["band"]] = f'"binMin":{number(low)},"binMax":{number(high)},"binContains":{number(share)}'
    return bins


@dataclass(frozen=True)
class Counts:
    """How many tokens have which positive activation, as a neuron's histogram has it: linear within its bins."""

    top: float  # largest activation, 0 when none is positive
    tokens: int  # all that count
    upto: Sequence[int]  # tokens above 0 and below each of the bins' edges

    @classmethod
    def of(cls, neuron: Row) -> Counts:
        positive = [0] * MAGNITUDES
        for place, count in enumerate(neuron["histogram"] or (), (neuron["histogram_first"] or 0) - ZERO_BIN - 1):
            if place >= 0:
                positive[place] = count
        return cls(max(neuron["max"] or 0.0, 0.0), neuron["n_tokens"], list(accumulate(positive, initial=0)))

    def below(self, activation: float) -> float:
        """Tokens above 0 and at most so large."""
        if activation <= 0:
            return 0.0
        if activation >= self.top:
            return self.upto[-1]
        place = bisect_right(_EDGES, activation) - 1
        low, high = _EDGES[place], min(_EDGES[place + 1], self.top)
        inside = self.upto[place + 1] - self.upto[place]
        return self.upto[place] + inside * (activation - low) / (high - low)

    def share(self, low: float, high: float) -> float:
        """0..1, of all tokens that count: those above `low`, at most `high`."""
        return max(self.below(high) - self.below(low), 0.0) / self.tokens if self.tokens else 0.0

    def bars(self) -> tuple[list[int], list[float]]:
        """Heights and centres of BARS bars of equal width from 0 to the top; their sum is that of the histogram."""
        if self.top <= 0 or not self.upto[-1]:
            return [], []
        width = self.top / BARS
        edges = [round(self.below(width * i)) for i in range(BARS)] + [self.upto[-1]]
        heights = [b - a for a, b in pairwise(edges)]
        return heights, [width * (i + 0.5) for i in range(BARS)]


def _describe_source(origin: Origin, layer: int) -> dict[str, Row]:
    """The records that the importer asks for beside features and activations, by file name."""
    made = {"creatorId": origin.creator, "createdAt": timestamp(origin.created_at)}
    name = f"polyseme-{origin.job}"
    text = f"MLP neurons of {origin.model}, analysed by Polyseme on the corpus {origin.corpus}"
    model = {"id": origin.model, "instruct": "instruct" in origin.model, "displayName": origin.model}
    model |= {"displayNameShort": origin.model, "layers": origin.layers, "neuronsPerLayer": origin.neurons}
    source = {"id": str(layer), "modelId": origin.model, "setName": SOURCE_SET, "dataset": origin.corpus}
    return {
        "release": {"name": name, "description": text, "descriptionShort": text, "creatorName": "Polyseme", **made},
        "model": model | made | {"updatedAt": made["createdAt"]},
        "sourceset": {
            "modelId": origin.model,
            "name": SOURCE_SET,
            "description": text,
            "type": "neurons",
            "creatorName": "Polyseme",
            "releaseName": name,
            **made,
        },
        "source": source | {"num_tokens_in_prompt": origin.window, "inferenceEnabled": False, **made},
    }


def _read_neurons(path: str, texts: Texts) -> Iterator[tuple[Row, list[Row]]]:
    """Each neuron of a layer's report file with its contexts, a row group in memory at a time."""
    with pq.ParquetFile(path, memory_map=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, [*_COLUMNS, "hook", "suppressed", "contexts"], use_threads=False)
            neurons = table.drop_columns(["contexts"]).to_pylist()
            yield from zip(neurons, _read_contexts(table["contexts"].combine_chunks(), texts), strict=True)


def _read_contexts(column: pa.ListArray, texts: Texts) -> Iterator[list[Row]]:
    """Each neuron's contexts, with `shown`, their part of a line, and `text`, their activation as JSON."""
    parts = dict(zip((f.name for f in column.type.value_type), column.values.flatten(), strict=True))
    names = (*_CONTEXT, "text")
    plain = [*(parts[name].to_pylist() for name in _CONTEXT), parts["activation"].cast(pa.string()).to_pylist()]
    rows: list[Row] = [dict(zip(names, row, strict=True)) for row in zip(*plain, strict=True)]
    for row, shown in zip(rows, _show_contexts(rows, parts["tokens"], parts["activations"], texts), strict=True):
        row["shown"] = shown
    ends = column.offsets.to_pylist()
    return (rows[first:end] for first, end in pairwise(ends))


def _show_contexts(rows: Sequence[Row], tokens: pa.ListArray, values: pa.ListArray, texts: Texts) -> Iterator[str]:
    peaks = [row["position"] - row["display_start"] for row in rows]
    flat = values.flatten()
    joined = _join_lists(tokens, texts.tokens.take(tokens.flatten())), _join_lists(values, flat.cast(pa.string()))
    least, firsts = _find_extremes(values, flat)
    sizes = pc.list_value_length(tokens).to_pylist()
    columns = (*(c.to_pylist() for c in joined), least.cast(pa.string()).to_pylist(), firsts, sizes)
    for i, (row, peak, words, numbers, low, first, size) in enumerate(zip(rows, peaks, *columns, strict=True)):
        if (first == peak and size <= LONGEST) or not is_shown(row):
            yield _show_context(words, numbers, row["text"], peak, low)
        else:
            yield _show_odd(tokens[i].values, values[i].as_py(), peak, row["text"], texts)


def _join_lists(lists: pa.ListArray, texts: pa.Array) -> pa.Array:
    """The texts, one for each entry of the lists, put together with commas list by list."""
    starts = pc.subtract(lists.offsets, lists.offsets[0])
    return pc.binary_join(pa.ListArray.from_arrays(starts, texts), ",")


def _find_extremes(lists: pa.ListArray, flat: pa.Array) -> tuple[pa.Array, list[int]]:
    """The least value of each list, and where its largest one is first. flat: the lists' values; none is empty."""
    owners = pc.list_parent_indices(lists)
    found = pa.table({"owner": owners, "value": flat}).group_by("owner", use_threads=False)
    ends = found.aggregate([("value", "min"), ("value", "max")])
    largest = pc.indices_nonzero(pc.equal(flat, ends["value_max"].combine_chunks().take(owners)))
    starts = pc.subtract(lists.offsets, lists.offsets[0]).to_pylist()
    firsts = [-1] * len(lists)
    for owner, place in zip(owners.take(largest).to_pylist(), largest.to_pylist(), strict=True):
        if firsts[owner] < 0:
            firsts[owner] = place - starts[owner]
    return ends["value_min"].combine_chunks(), firsts


def _batches(neurons: Iterable[tuple[Row, list[Row]]]) -> Iterator[list[tuple[Row, list[Row]]]]:
    held: list[tuple[Row, list[Row]]] = []
    for neuron in neurons:
        held.append(neuron)
        if len(held) == FEATURES_A_FILE:
            yield held
            held = []
    if held:
        yield held


def _pack(lines: Sequence[str]) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return packer.compress("".join(f"{line}\n" for line in lines).encode()) + packer.flush()


def _join(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"
