"""A bundle, every field of it against Neuronpedia's rules, and its numbers against the result it
was made from.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zipfile
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from safetensors.numpy import load

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import (
    BINS,
    QUANTILES,
    REPORTS,
    ZERO_BIN,
    histogram_edges,
    report_file,
)
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import Job
from polyseme.contract.records.vector_set import VectorSet
from polyseme.service.results.neuronpedia.contexts import LONGEST, lower_others
from polyseme.service.results.neuronpedia.counts import BARS, Counts
from tests.factories import (
    MODEL,
    add_vectors,
    make_dictionary,
    make_vocabulary,
    open_job,
    run_job,
    seal_result,
    write_result,
)

Records = list[dict[str, Any]]

FEATURE = {
    "modelId": str, "layer": str, "index": str, "maxActApprox": float, "frac_nonzero": float,
    "pos_str": list, "pos_values": list, "neg_str": list, "neg_values": list,
    "freq_hist_data_bar_heights": list, "freq_hist_data_bar_values": list, "hookName": str,
    "hasVector": bool, "vector": list, "vectorLabel": type(None), "topkCosSimIndices": list,
    "topkCosSimValues": list,
    "neuron_alignment_indices": list, "neuron_alignment_values": list, "neuron_alignment_l1": list,
    "correlated_neurons_indices": list, "correlated_neurons_pearson": list,
    "correlated_neurons_l1": list,
    "correlated_features_indices": list, "correlated_features_pearson": list,
    "correlated_features_l1": list,
    "logits_hist_data_bar_heights": list, "logits_hist_data_bar_values": list,
    "decoder_weights_dist": list,
    "creatorId": str, "createdAt": str,
}  # fmt: skip
ACTIVATION = {
    "id": str, "modelId": str, "layer": str, "index": str, "tokens": list, "values": list,
    "maxValue": float, "maxValueTokenIndex": int, "minValue": float, "qualifyingTokenIndex": int,
    "binMin": float, "binMax": float, "binContains": float, "dataIndex": str, "dataSource": str,
    "dfaValues": list, "dfaTargetIndex": type(None), "dfaMaxValue": type(None),
    "lossValues": list, "logitContributions": type(None), "creatorId": str, "createdAt": str,
}  # fmt: skip

EXPLANATION = {
    "id": str, "modelId": str, "layer": str, "index": str, "description": str, "authorId": str,
    "typeName": type(None), "explanationModelName": type(None), "createdAt": str,
}  # fmt: skip


def unpack(body: bytes) -> dict[str, Records]:
    """The records of each file of a bundle, by its name."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    texts = {
        n: (gzip.decompress(b) if n.endswith(".gz") else b).decode("ascii")
        for n, b in files.items()
    }
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


def export(http: FlaskClient, job: Job, query: str = "") -> dict[str, Records]:
    answer = http.get(f"/v1/jobs/{job.id}/export?format=neuronpedia{query}")
    assert (answer.status_code, answer.content_type) == (200, "application/zip"), answer.text
    return unpack(answer.data)


def rows_of(store: Store, job: Job, layer: int) -> Records:
    rows: Records = pq.read_table(
        store.local_path(f"{Layout.result(job.id)}/{report_file(layer)}")
    ).to_pylist()
    return rows


def conforms(record: dict[str, Any], types: dict[str, type]) -> bool:
    return set(record) == set(types) and all(
        type(record[name]) in ((int, float) if kind is float else (kind,))
        for name, kind in types.items()
    )


@pytest.fixture
def wide(board: Board, store: Store, http: FlaskClient) -> Job:
    """Two layers of 150 neurons, so that a layer has two files."""
    job = open_job(board)
    write_result(store, job.id, layers=(0, 2), neurons=range(150), contexts=4)
    return run_job(board, job.id)


def test_a_layer_is_a_folder_with_at_most_128_features_a_file(http: FlaskClient, wide: Job) -> None:
    files = export(http, wide)

    parts = ("release", "model", "sourceset", "source")
    batches = [f"{kind}/batch-{n}.jsonl.gz" for n in (0, 1) for kind in ("features", "activations")]
    names = [*(f"{part}.jsonl" for part in parts), *batches]
    assert list(files) == [f"{MODEL}/{layer}/{name}" for layer in (0, 2) for name in names]
    assert [len(files[f"{MODEL}/2/features/batch-{n}.jsonl.gz"]) for n in (0, 1)] == [128, 22]
    for n in (0, 1):
        features = {f["index"] for f in files[f"{MODEL}/2/features/batch-{n}.jsonl.gz"]}
        assert {a["index"] for a in files[f"{MODEL}/2/activations/batch-{n}.jsonl.gz"]} == features


def test_latents_are_of_the_sets_of_their_dictionaries(
    http: FlaskClient, board: Board, store: Store
) -> None:
    board.registry.put_dictionary(make_dictionary(id="a", neuronpedia="gpt/0-res-16k"))
    board.registry.put_dictionary(make_dictionary(id="b", neuronpedia="gpt/7-res-16k"))
    neurons = {"site": "dictionary", "dictionary": ["a", "b", "gone"], "layers": "0-2"}
    job = open_job(board, neurons=neurons)
    write_result(store, job.id, layers=(0, 1, 2), neurons=range(3))

    files = export(http, run_job(board, job.id))

    # Of b Neuronpedia's id is of another layer, so it is not this dictionary's.
    sources = ("0-res-16k", "1-b", "2-gone")
    assert {name.split("/")[1] for name in files} == set(sources)
    for source in sources:
        layer, _, own = source.partition("-")
        (of_set,), (of_source,) = (
            files[f"{MODEL}/{source}/{name}.jsonl"] for name in ("sourceset", "source")
        )
        assert (of_set["name"], of_source["setName"], of_source["id"]) == (own, own, source)
        assert {f["layer"] for f in files[f"{MODEL}/{source}/features/batch-0.jsonl.gz"]} == {
            source
        }
        name = {"0": "a", "1": "b", "2": "gone"}[layer]
        assert of_set["description"].startswith(f"Latents of the dictionary {name} of {MODEL}")


def test_every_feature_keeps_the_rules(http: FlaskClient, wide: Job, store: Store) -> None:
    files = export(http, wide, "&layer=2")
    vocabulary = make_vocabulary()

    features = [f for name, records in files.items() if "/features/" in name for f in records]
    acts = [a for name, records in files.items() if "/activations/" in name for a in records]
    for feature, row in zip(features, rows_of(store, wide, 2), strict=True):
        assert conforms(feature, FEATURE)
        assert (feature["modelId"], feature["layer"], feature["index"]) == (
            MODEL,
            "2",
            str(row["neuron"]),
        )
        assert feature["hookName"] == "blocks.2.mlp.hook_post"
        assert feature["frac_nonzero"] == pytest.approx(row["density"], rel=1e-5)
        for side, name in (("pos", "promoted"), ("neg", "suppressed")):
            assert feature[f"{side}_str"] == [vocabulary[e["token"]] for e in row[name]]
            assert feature[f"{side}_values"] == pytest.approx(
                [e["logit"] for e in row[name]], rel=1e-5
            )
        heights, values = (
            feature["freq_hist_data_bar_heights"],
            feature["freq_hist_data_bar_values"],
        )
        assert (len(heights), len(values)) == (BARS, BARS)
        assert sum(heights) == sum(row["histogram"][ZERO_BIN + 1 - row["histogram_first"] :])
        width = row["max"] / BARS
        assert values == pytest.approx([(i + 0.5) * width for i in range(BARS)], rel=1e-5)
        mine = [a["maxValue"] for a in acts if a["index"] == feature["index"]]
        assert feature["maxActApprox"] == max(mine)


@pytest.mark.parametrize("banded", [False, True])
def test_every_activation_keeps_the_rules(
    http: FlaskClient, wide: Job, store: Store, banded: bool
) -> None:
    write_result(store, wide.id, layers=(0, 2), neurons=range(150), contexts=4, banded=banded)
    files = export(http, wide, "&layer=0")
    vocabulary = make_vocabulary()
    contexts = [(row, c) for row in rows_of(store, wide, 0) for c in row["contexts"]]

    acts = [a for name, records in files.items() if "/activations/" in name for a in records]

    assert len({a["id"] for a in acts}) == len(acts)
    for a, (row, context) in zip(acts, contexts, strict=True):
        assert conforms(a, ACTIVATION)
        assert (a["modelId"], a["layer"], a["index"]) == (MODEL, "0", str(row["neuron"]))
        assert a["tokens"] == [vocabulary[t] for t in context["tokens"]]
        assert a["values"] == pytest.approx(context["activations"], rel=1e-5)
        assert a["maxValue"] == max(a["values"]) == pytest.approx(context["activation"], rel=1e-5)
        assert a["maxValueTokenIndex"] == a["values"].index(a["maxValue"])
        assert (
            a["maxValueTokenIndex"]
            == a["qualifyingTokenIndex"]
            == context["position"] - context["display_start"]
        )
        assert a["minValue"] == min(a["values"])
        assert (a["dataIndex"], a["dataSource"]) == (str(context["document"]), "notes")
        if context["sample"] == "top":
            assert (a["binMin"], a["binContains"]) == (-1, -1)
            assert a["binMax"] == pytest.approx(
                max(c["activation"] for c in row["contexts"]), rel=1e-5
            )
        else:
            whole = {"low": 0, "high": None}
            band = row["bands"][context["band"]] if banded else whole
            assert a["binMin"] == band["low"]
            assert a["binMax"] == pytest.approx(
                row["max"] if band["high"] is None else band["high"], rel=1e-5
            )
            share = Counts.of(row).share(a["binMin"], a["binMax"])
            assert a["binContains"] == pytest.approx(share, rel=1e-3, abs=1e-6)


def test_the_source_and_its_model_are_described(http: FlaskClient, wide: Job) -> None:
    files = export(http, wide, "&layer=2&model_id=gpt2-small&creator_id=clabc")

    found = {
        n.rpartition("/")[2].removesuffix(".jsonl"): r[0]
        for n, r in files.items()
        if n.endswith(".jsonl")
    }
    assert {name.partition("/")[0] for name in files} == {"gpt2-small"}
    assert (found["model"]["id"], found["model"]["layers"], found["model"]["neuronsPerLayer"]) == (
        "gpt2-small",
        2,
        150,
    )
    assert (found["sourceset"]["name"], found["sourceset"]["releaseName"]) == (
        "neurons",
        found["release"]["name"],
    )
    assert (found["source"]["id"], found["source"]["setName"], found["source"]["dataset"]) == (
        "2",
        "neurons",
        "notes",
    )
    assert {record["creatorId"] for records in files.values() for record in records} == {"clabc"}


def test_what_claims_something_is_an_explanation(
    http: FlaskClient, board: Board, store: Store
) -> None:
    job = open_job(board)
    write_result(store, job.id, layers=(2,), neurons=range(12), contexts=18, senses=True)

    files = export(http, run_job(board, job.id), "&creator_id=clabc")

    rows = [r for r in rows_of(store, job, 2) if r["status"] in ("polysemantic", "monosemantic")]
    found = files[f"{MODEL}/2/explanations/batch-0.jsonl.gz"]
    assert 0 < len(rows) < 12
    assert [(e["index"], e["description"]) for e in found] == [
        (str(r["neuron"]), r["meaning"]) for r in rows
    ]
    assert all(conforms(e, EXPLANATION) for e in found)
    assert {(e["modelId"], e["layer"], e["authorId"]) for e in found} == {(MODEL, "2", "clabc")}
    assert found[0]["id"] == f"{job.id}-2-{rows[0]['neuron']}-meaning"


def make_row(contexts: Records, **changes: Any) -> dict[str, Any]:
    """A row of a report file without senses."""
    plain = {
        "layer": 0, "neuron": 0, "hook": "blocks.0.mlp.hook_post", "status": "not_scored",
        "n_tokens": 100,
        "density": 0.5, "max": 8.0, "quantiles": [0.0] * len(QUANTILES),
        "histogram_first": ZERO_BIN,
        "histogram": [], "bands": [], "contexts": contexts,
    }  # fmt: skip
    return {f.name: None for f in REPORTS} | plain | changes


def make_context(activations: list[float], peak: int, **changes: Any) -> dict[str, Any]:
    tokens = [i % 24 for i in range(len(activations))]
    texts = [make_vocabulary()[t] for t in tokens]
    ends = list(accumulate(map(len, texts)))
    starts = [0, *ends[:-1]]
    return {
        "text": "".join(texts), "token_starts": starts, "token_ends": ends,
        "peak_start": starts[peak], "peak_end": ends[peak],
        "tail": "positive", "sample": "top", "band": None, "document": 0, "window": 0,
        "position": peak,
        "char_start": 0, "char_end": 1, "activation": activations[peak], "sense": None,
        "display_start": 0,
        "tokens": tokens, "activations": activations, **changes,
    }  # fmt: skip


def bundle_of(
    http: FlaskClient, board: Board, store: Store, row: dict[str, Any]
) -> tuple[dict[str, Any], Records]:
    job = open_job(board)
    write_result(store, job.id, layers=(0,), neurons=(0,))
    with store.writing(f"{Layout.result(job.id)}/{report_file(0)}") as f:
        pq.write_table(pa.Table.from_pylist([row], REPORTS), f)
    seal_result(store, job.id)
    files = export(http, run_job(board, job.id))
    return files[f"{MODEL}/0/features/batch-0.jsonl.gz"][0], files[
        f"{MODEL}/0/activations/batch-0.jsonl.gz"
    ]


def test_a_long_context_is_cut_to_1024_tokens_around_its_peak(
    http: FlaskClient, board: Board, store: Store
) -> None:
    peaks = (3, 1000, 1999)
    contexts = [make_context([0.5] * peak + [8.0] + [0.5] * (1999 - peak), peak) for peak in peaks]

    _, acts = bundle_of(http, board, store, make_row(contexts))

    assert [len(a["tokens"]) for a in acts] == [len(a["values"]) for a in acts] == [LONGEST] * 3
    assert [a["maxValueTokenIndex"] for a in acts] == [3, 512, 1023]
    assert all(a["values"][a["maxValueTokenIndex"]] == 8.0 for a in acts)


def test_latents_are_as_large_as_with_decoder_vectors_of_length_one(
    http: FlaskClient, board: Board, store: Store
) -> None:
    histogram = [0] * BINS
    histogram[histogram_edges().index(2.0)] = 30
    banded = {"sample": "interval", "band": 0}
    contexts = [make_context([0.5, 2.0, 0.25], 1), make_context([0.0, 1.0, 0.5], 1, **banded)]
    bands = [{"tail": "positive", "band": 0, "low": 0.75, "high": 1.5, "windows": 3}]
    changes = {"histogram_first": 0, "histogram": histogram, "max": 2.25, "bands": bands}

    plain, scaled = (
        bundle_of(http, board, store, make_row(contexts, decoder_norm=norm, **changes))
        for norm in (None, 4.0)
    )

    assert [a["values"] for a in scaled[1]] == [[2.0, 8.0, 1.0], [0.0, 4.0, 2.0]]
    assert [a["maxValue"] for a in scaled[1]] == [8.0, 4.0]
    assert [a["minValue"] for a in scaled[1]] == [1.0, 0.0]
    assert (scaled[1][1]["binMin"], scaled[1][1]["binMax"]) == (3.0, 6.0)
    assert scaled[0]["maxActApprox"] == 8.0
    name = "freq_hist_data_bar"
    assert scaled[0][f"{name}_heights"] == plain[0][f"{name}_heights"]
    assert scaled[0][f"{name}_values"] == pytest.approx(
        [4 * value for value in plain[0][f"{name}_values"]], rel=1e-5
    )
    assert [a["binContains"] for a in scaled[1]] == [a["binContains"] for a in plain[1]]
    assert plain[1][0]["values"] == [0.5, 2.0, 0.25]


def test_other_tails_and_contexts_that_do_not_fire_are_left_out(
    http: FlaskClient, board: Board, store: Store
) -> None:
    contexts = [
        make_context([0.1, 2.0], 1),
        make_context([-0.5, -0.1], 1),
        make_context([0.1, -3.0], 1, tail="negative"),
    ]

    feature, acts = bundle_of(
        http, board, store, make_row(contexts, promoted=None, suppressed=None)
    )

    assert [a["maxValue"] for a in acts] == [2.0]
    assert (feature["maxActApprox"], feature["pos_str"], feature["neg_values"]) == (2.0, [], [])


def test_the_peak_is_the_maximum_though_a_token_that_does_not_count_is_above_it(
    http: FlaskClient, board: Board, store: Store
) -> None:
    contexts = [
        make_context([9.5, 7.0, 8.0, -1.0], 2),
        make_context([8.0, 2.0, 8.0], 2),
        make_context([1.0, 3.0], 1),
    ]

    feature, acts = bundle_of(http, board, store, make_row(contexts))

    assert [a["maxValueTokenIndex"] for a in acts] == [2, 2, 1]
    assert [a["maxValue"] for a in acts] == [8.0, 8.0, 3.0]
    assert acts[0]["values"] == [0.0, 7.0, 8.0, -1.0]
    assert acts[1]["values"] == pytest.approx([8.0, 2.0, 8.0], rel=1e-4)
    assert acts[1]["values"].index(max(acts[1]["values"])) == 2
    assert (acts[0]["minValue"], feature["maxActApprox"]) == (-1.0, 8.0)


def test_a_dead_neuron_has_no_bars(http: FlaskClient, board: Board, store: Store) -> None:
    """Its bands but for the first begin at infinity."""
    bands = [
        {"tail": "positive", "band": b, "low": None if b else 0.0, "high": None, "windows": 0}
        for b in range(5)
    ]

    feature, acts = bundle_of(
        http, board, store, make_row([], max=-0.5, density=0.0, histogram=[3], bands=bands)
    )

    assert (feature["freq_hist_data_bar_heights"], feature["maxActApprox"], acts) == ([], 0, [])


def test_tokens_that_json_has_to_escape_come_through(
    http: FlaskClient, board: Board, store: Store
) -> None:
    odd = ['"', "\\", "\n", "\r\n", "日", "\U0001f600", "\x00", "</script>"]
    ends = list(accumulate(map(len, odd)))
    places = {"token_starts": [0, *ends[:-1]], "token_ends": ends}
    context = make_context([9.0] + [1.0] * 7, 0, text="".join(odd), peak_end=1, **places)

    _, [act] = bundle_of(http, board, store, make_row([context]))

    assert act["tokens"] == odd


def test_a_context_reads_as_its_document_does(
    http: FlaskClient, board: Board, store: Store
) -> None:
    """WordPiece: an uncased text with a special token in front and a space that no token holds."""
    places = {"token_starts": [None, 0, 2, 4], "token_ends": [None, 1, 4, 5]}
    context = make_context([9.5, 1.0, 2.0, 0.5], 2, text="A Bé日", **places)
    context |= {"peak_start": 2, "peak_end": 4}

    _, [act] = bundle_of(http, board, store, make_row([context]))

    assert act["tokens"] == [make_vocabulary()[0], "A", " Bé", "日"]
    assert act["maxValueTokenIndex"] == 2


def test_the_peak_is_the_first_maximum_whatever_rounding_and_uncounted_tokens_say() -> None:
    peak = 4.7260804
    values = [9.5, 4.7266, peak, 4.726, peak]

    lowered = lower_others(values, 2)

    assert lowered[0] == 0.0
    assert lowered[2] == peak
    assert lowered[3] == 4.726
    assert [format(v, ".6g") for v in lowered].index(format(max(lowered), ".6g")) == 2
    assert lowered[1] == lowered[4] == pytest.approx(peak, rel=1e-4)


def test_counts_are_linear_within_the_bins_of_the_histogram() -> None:
    edges = histogram_edges()
    one = edges.index(1.0)  # the bin that begins at 1 ends at 1.25
    histogram = [0] * BINS
    histogram[ZERO_BIN] = 40
    histogram[one] = 20
    histogram[one + 1] = 30
    row = make_row([], histogram_first=0, histogram=histogram, max=1.4)

    counts = Counts.of(row)

    assert [counts.below(x) for x in (-1.0, 0.0, 1.0, 1.125, 1.25, 1.4, 9.0)] == pytest.approx(
        [0, 0, 0, 10, 20, 50, 50]
    )
    assert counts.share(1.125, 1.325) == pytest.approx((10 + 15) / 100)
    heights, centres = counts.bars()
    assert sum(heights) == 50
    assert centres[0] == pytest.approx(0.014)
    assert sum(h for h, c in zip(heights, centres, strict=True) if c < 1.25) == pytest.approx(
        20, abs=3
    )
    assert not any(math.isnan(c) for c in centres)


def test_counts_go_on_beyond_the_edges_of_the_last_bin() -> None:
    row = {"histogram_first": BINS - 1, "histogram": [8], "max": 1e12, "n_tokens": 16}

    counts = Counts.of(row)

    assert counts.share(0, 1e12) == 0.5
    assert counts.share(5e11, 1e12) == pytest.approx(0.25, rel=1e-6)
    assert sum(counts.bars()[0]) == 8


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("format=neuronpedia&file=neurons", "/file"),
        ("format=ndjson&model_id=gpt2", "/model_id"),
        ("format=parquet&creator_id=x", "/creator_id"),
        ("format=neuronpedia&model_id=../x", "/model_id"),
        ("format=neuronpedia&model_id=x%0a", "/model_id"),
        ("format=neuronpedia&creator_id=", "/creator_id"),
        ("format=neuronpedia&layer=9", "/layer"),
    ],
)
def test_what_a_bundle_cannot_have_is_refused(
    http: FlaskClient, done: Job, query: str, pointer: str
) -> None:
    answer = http.get(f"/v1/jobs/{done.id}/export?{query}")

    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)


def test_units_that_are_uploaded_directions_have_them(
    http: FlaskClient, board: Board, store: Store
) -> None:
    def made(**changes: Any) -> tuple[Job, VectorSet]:
        vectors = add_vectors(board, store, count=48, **changes)
        neurons = {"site": "vectors", "vectors": vectors.id, "layers": [2]}
        job = open_job(board, neurons=neurons)
        write_result(store, job.id, layers=(2,))
        return run_job(board, job.id), vectors

    job, vectors = made(name="tenses")
    nameless, other = made(id="vec_" + "9" * 24)

    files = export(http, job)
    features = files[f"{MODEL}/2-vectors-tenses/features/batch-0.jsonl.gz"]
    sent = load(store.read(Layout.vectors(vectors.id)))["vectors"]
    for feature, row in zip(features, sent, strict=True):
        assert (feature["hasVector"], feature["vectorLabel"]) == (True, None)
        assert feature["vector"] == pytest.approx(row.tolist(), rel=1e-5)
        assert conforms(feature, FEATURE)
    assert files[f"{MODEL}/2-vectors-tenses/sourceset.jsonl"][0]["name"] == "vectors-tenses"

    assert http.delete(f"/v1/vectors/{other.id}").status_code == 204
    left = export(http, nameless)[f"{MODEL}/2-vectors-{other.id}/features/batch-0.jsonl.gz"]
    assert {(feature["hasVector"], len(feature["vector"])) for feature in left} == {(False, 0)}
