"""A token whose residual stream is far longer than the others' is left out: against a program that
keeps everything, in float64.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from polyseme.contract.files.documents import read_documents, write_documents
from polyseme.contract.files.results import MANIFEST, SUMMARY, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import ACTIVATIONS, ActivationsRequest
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.corpus.plan import read_plan, window_priority
from polyseme.workers.analysis.corpus.windows import read_blocks
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.live.check import Check, write_activations
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.senses.background import draw_tokens
from polyseme.workers.analysis.senses.firing import FIRES, unpack_firings
from polyseme.workers.analysis.steps import planning
from polyseme.workers.analysis.steps.analysis import Analysis, bands_file
from polyseme.workers.analysis.steps.closing import close_analysis
from polyseme.workers.analysis.steps.copies import copy_result
from polyseme.workers.analysis.steps.manifest import scan_address
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.planning import count_parts
from polyseme.workers.analysis.steps.reusing import reuse_layer
from polyseme.workers.analysis.steps.scan_shard import scan_shard
from tests import brute_force
from tests.brute_force import Row
from tests.factories import make_request, make_texts
from tests.tiny_models import change_weights, plain_tokenizer, save_model
from tests.workers.analysis.builders import plan_analysis

SINK, FACTOR = "7", 8.0
# The last but one has no other token: of its window nothing counts.
TEXTS = [*make_texts(100, seed=4), SINK * 9, f"the 12 {SINK}"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("sinks")
    entry = save_model("llama", folder)
    sink = plain_tokenizer().convert_tokens_to_ids(SINK)

    def lengthen(weights: dict[str, torch.Tensor]) -> None:
        row = weights["model.embed_tokens.weight"][sink]
        row.copy_(100 * row.sign())

    change_weights(folder, lengthen)
    return load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")


def ask(site: str = "mlp", factor: float | None = FACTOR, **parts: Any) -> AnalysisRequest:
    contexts = {"window": 24, "display_tokens": 8, "tails": "both", "top_k": 12, "shown": 100}
    contexts |= {"near_duplicates": "keep", "sampled": 0} | parts.pop("contexts", {})
    tokens = {"exclude_sinks": factor} | parts.pop("tokens", {})
    neurons = {"site": site, "layers": [0, 2]}
    parts = {"senses": {"enabled": False}, "neurons": neurons} | parts
    return make_request(contexts=contexts, tokens=tokens, **parts)


def prepare(
    model: LoadedModel, request: AnalysisRequest, folder: Path, name: str = "result", **more: Any
) -> Analysis:
    store = Store(str(folder))
    with store.writing("documents.parquet") as f:
        corpus = write_documents(TEXTS, f, name="c", max_documents=1000)
    places = (store, f"work-{name}", name, "lens", 256, 800)
    return Analysis(request, corpus, model.card, *places, **more)


def scan(analysis: Analysis, model: LoadedModel) -> None:
    with analysis.store.open("documents.parquet") as f:
        plan = plan_analysis(analysis, model, read_documents(f))
    for shard in range(len(plan.shards)):
        scan_shard(analysis, model, shard)


def analyse(model: LoadedModel, request: AnalysisRequest, folder: Path) -> Analysis:
    """A whole result, but for senses."""
    analysis = prepare(model, request, folder)
    scan(analysis, model)
    for layer in analysis.layers:
        merge_layer(analysis, model, layer)
    close_analysis(analysis, model)
    return analysis


def read_json(analysis: Analysis, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(analysis.store.read(f"{analysis.result}/{name}"))
    return found


def planned_blocks(analysis: Analysis) -> list[list[Row]]:
    blocks = []
    for name in sorted(analysis.store.names(f"{analysis.work}/windows")):
        with analysis.store.open(f"{analysis.work}/windows/{name}") as f:
            for w in read_blocks(f):
                spans = zip(w.number.tolist(), pairwise(w.offsets), strict=True)
                blocks.append(
                    [
                        Row(n, int(w.documents[a]), w.ids[a:b].tolist(), w.counted[a:b].tolist())
                        for n, (a, b) in spans
                    ]
                )
    return blocks


class Kept:
    """Everything, and what may be counted of it, by layer."""

    def __init__(self, model: LoadedModel, analysis: Analysis, streams: str = "input") -> None:
        blocks, site = planned_blocks(analysis), analysis.site
        self.rows = sorted((row for block in blocks for row in block), key=lambda r: r.number)
        points = site.points(model.parts, analysis.layers)
        self.activations = brute_force.keep_activations(
            model.parts.body,
            {layer: point.module for layer, point in points.items()},
            blocks,
            leaving=points[0].side == "output",
        )
        streams_kept = brute_force.keep_activations(
            model.parts.body,
            {layer: model.parts.blocks[layer] for layer in analysis.layers},
            blocks,
            leaving=streams == "output",
        )
        self.norms = {
            layer: {n: np.linalg.norm(x.astype(np.float64), axis=1) for n, x in of_layer.items()}
            for layer, of_layer in streams_kept.items()
        }
        windows = read_plan(analysis.store, analysis.work).windows
        order = np.argsort(window_priority(np.arange(windows)), kind="stable")
        self.sample = set(order[: max(windows // 20, 16)].tolist())

    def limit(self, layer: int) -> float:
        norms = [
            self.norms[layer][row.number][np.array(row.counted)]
            for row in self.rows
            if row.number in self.sample
        ]
        return float(FACTOR * np.median(np.concatenate(norms)))

    def counted(self, layer: int, *, by_limit: bool = True) -> list[Row]:
        """The windows with any token that counts."""
        limit = self.limit(layer) if by_limit else np.inf
        rows = [
            replace(row, counted=(np.array(row.counted) & (self.norms[layer][row.number] <= limit)))
            for row in self.rows
        ]
        return [row for row in rows if any(row.counted)]

    def values(self, layer: int) -> np.ndarray:
        """(T, N) float64, of the counted tokens."""
        of = self.activations[layer]
        rows = self.counted(layer)
        return np.concatenate([of[r.number][r.counted] for r in rows]).astype(np.float64)


@pytest.mark.parametrize(
    ("site", "streams"),
    [("mlp", "input"), ("resid_pre", "input"), ("resid_post", "output"), ("z", "input")],
)
def test_a_sink_is_no_context_and_in_no_denominator(
    model: LoadedModel, tmp_path: Path, site: str, streams: str
) -> None:
    analysis = analyse(model, ask(site), tmp_path)
    kept = Kept(model, analysis, streams)
    limits, summary = read_json(analysis, MANIFEST)["sinks"], read_json(analysis, SUMMARY)

    assert limits["factor"] == FACTOR
    tokens, left_out = read_plan(analysis.store, analysis.work).counted_tokens, []
    for layer in analysis.layers:
        assert limits["limits"][str(layer)] == pytest.approx(kept.limit(layer), rel=1e-5)
        values = kept.values(layer)
        left_out.append(tokens - len(values))
        table = pq.read_table(tmp_path / "result" / report_file(layer))
        columns = {name: table[name].to_numpy() for name in table.column_names[:60]}
        mean, std = values.mean(0), values.std(0)
        centred = values - mean
        assert set(columns["n_tokens"]) == {len(values)}
        np.testing.assert_allclose(columns["density"], (values > 0).mean(0))
        np.testing.assert_allclose(columns["mean"], mean, rtol=1e-5, atol=1e-6 * std.max())
        np.testing.assert_allclose(columns["std"], std, rtol=1e-4)
        np.testing.assert_allclose(
            columns["kurtosis"], (centred**4).mean(0) / std**4 - 3, rtol=1e-3, atol=1e-3
        )
        np.testing.assert_allclose(columns["max"], values.max(0), rtol=1e-6)
        np.testing.assert_allclose(columns["min"], values.min(0), rtol=1e-6)
        assert all(sum(bins) == len(values) for bins in table["histogram"].to_pylist())
        for tail, sign in (("positive", 1.0), ("negative", -1.0)):
            peaks = brute_force.peaks_of(kept.activations[layer], kept.counted(layer), sign)
            for report, own in zip(table.to_pylist(), peaks, strict=True):
                found = [
                    (c["document"], c["window"], c["position"], c["activation"])
                    for c in report["contexts"]
                    if c["tail"] == tail
                ]
                best = brute_force.best(own, 12, one_a_document=True)
                assert found == [
                    (p.document, p.window, p.position, np.float32(sign * p.value)) for p in best
                ]
    assert min(left_out) >= 9 + 1
    assert [of["excluded_sinks"] for of in summary["layers"]] == left_out
    assert summary["excluded_sinks"] == sum(left_out)


def test_a_sink_was_the_strongest_context_before(model: LoadedModel, tmp_path: Path) -> None:
    analysis = analyse(model, ask("resid_pre", None), tmp_path)
    kept = Kept(model, analysis)
    sinks = {
        (row.number, place)
        for row in kept.rows
        for place, norm in enumerate(kept.norms[2][row.number])
        if norm > kept.limit(2)
    }
    reports = pq.read_table(tmp_path / "result" / report_file(2)).to_pylist()

    # Of one of the tails, as the sink has a sign.
    strongest = [max(r["contexts"], key=lambda c: abs(c["activation"])) for r in reports]
    assert np.mean([(c["window"], c["position"]) in sinks for c in strongest]) > 0.9
    assert read_json(analysis, MANIFEST)["sinks"] is None
    assert read_json(analysis, SUMMARY)["excluded_sinks"] is None


def test_calibration_peaks_and_random_tokens_leave_sinks_out(
    model: LoadedModel, tmp_path: Path
) -> None:
    request = ask(contexts={"sampled": 10, "tails": "positive"}, senses={"enabled": True})
    analysis = prepare(model, request, tmp_path)
    scan(analysis, model)
    kept, plan = Kept(model, analysis), read_plan(analysis.store, analysis.work)

    for layer in analysis.layers:
        rows = [row for row in kept.counted(layer) if row.number in kept.sample]
        most = np.concatenate(
            [kept.activations[layer][row.number][row.counted] for row in rows]
        ).max(0)
        fires = read_arrays(analysis.store, bands_file(analysis), f"{layer:03d}/positive/")["fires"]
        np.testing.assert_allclose(fires, np.where(most > 0, FIRES * most, np.inf), rtol=1e-4)
        counted = {row.number: row.counted for row in kept.counted(layer)}
        expected, names = [], sorted(analysis.store.names(f"{analysis.work}/windows"))
        for name in names:
            with analysis.store.open(f"{analysis.work}/windows/{name}") as f:
                for windows in read_blocks(f):
                    _, own, position = draw_tokens(windows, plan.counted_tokens)
                    for n, place in zip(windows.number[own].tolist(), position, strict=True):
                        is_sink = n not in counted or not counted[n][place]
                        value = kept.activations[layer][n][place]
                        expected.append((value > fires) & (not is_sink))
        bits = [
            read_arrays(analysis.store, f"{analysis.work}/partials/{n:06d}.npz", f"{layer:03d}/")
            for n in range(len(plan.shards))
        ]
        found = unpack_firings(np.concatenate([b["fires/positive"] for b in bits]), len(most))
        assert np.array_equal(found, np.array(expected))


def test_bands_and_limits_are_the_same_for_any_number_of_parts(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, counts = [], []
    for most in (1, 1000):
        monkeypatch.setattr(planning, "CALIBRATION_PARTS", most)
        analysis = prepare(model, ask(contexts={"sampled": 10}), tmp_path / str(most))
        with analysis.store.open("documents.parquet") as f:
            plan_analysis(analysis, model, read_documents(f))
        found.append(analysis.store.read(bands_file(analysis)))
        counts.append(count_parts(analysis))

    assert counts == [1, 2]
    assert found[0] == found[1]


def test_layers_that_are_taken_over_keep_their_limits(model: LoadedModel, tmp_path: Path) -> None:
    source = analyse(model, ask(), tmp_path)
    again = prepare(model, ask(), tmp_path, "again", reused={"result": (0, 2)})
    copy_result(again, "result", "result", scan_address(again, model))

    for layer in again.layers:
        reuse_layer(again, layer)
    close_analysis(again, model)

    assert read_json(again, MANIFEST)["sinks"] == read_json(source, MANIFEST)["sinks"]
    assert read_json(again, SUMMARY) == read_json(source, SUMMARY)


def test_a_live_check_leaves_out_what_the_analysis_did(model: LoadedModel, tmp_path: Path) -> None:
    answers = []
    for name, factor in (("with", FACTOR), ("without", None)):
        analysis = analyse(model, ask(factor=factor), tmp_path / name)
        text = ActivationsRequest("job", model.card.id, f"the 1{SINK} dogs", ((0, 1), (2, 3)), 50)
        places = analysis.store, analysis.result, "check", 64, LazyEncoder()
        write_activations(Check(text, *places), model)
        answers.append(json.loads(analysis.store.read(f"check/{ACTIVATIONS}")))

    found, plain = answers
    sinks = [token["token"] == SINK for token in found["tokens"]]
    assert sum(sinks) == 1
    for one, other in zip(found["neurons"], plain["neurons"], strict=True):
        expected = [None if s else a for s, a in zip(sinks, other["activations"], strict=True)]
        assert one["activations"] == expected
        assert None not in other["activations"]
        assert not any(sinks[peak["token"]] for peak in one["peaks"])
