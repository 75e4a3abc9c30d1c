"""The contexts of a result against a program that keeps every activation, and the result against
itself in shards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from polyseme.commands import samples
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.results import histogram_edges, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import (
    AnalysisRequest,
    Contexts,
    Neurons,
    Senses,
    Tokens,
)
from polyseme.workers.analysis.corpus.windows import read_blocks
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.closing import close_analysis
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.projecting import measure_background, project_shard
from polyseme.workers.analysis.steps.scan_shard import scan_shard
from tests import brute_force
from tests.brute_force import Row
from tests.factories import make_texts
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import plan_analysis


def analyse(
    model: LoadedModel,
    request: AnalysisRequest,
    texts: list[str],
    folder: Path,
    *,
    shard_tokens: int = 32_768,
) -> Analysis:
    store = Store(str(folder))
    with store.writing("documents.parquet") as f:
        corpus = write_documents(texts, f, name="c", max_documents=10**6)
    analysis = Analysis(
        request, corpus, model.card, store, "work", "result", "lens", 1024, shard_tokens
    )
    plan = plan_analysis(analysis, model, texts)
    for shard in range(len(plan.shards)):
        scan_shard(analysis, model, shard)
    if request.senses.enabled:
        measure_background(analysis, model)
        for shard in range(len(plan.shards)):
            project_shard(analysis, shard)
    for layer in analysis.layers:
        merge_layer(analysis, model, layer)
    close_analysis(analysis, model)
    return analysis


def planned_blocks(folder: Path) -> list[list[Row]]:
    blocks = []
    for path in sorted((folder / "work/windows").iterdir()):
        with path.open("rb") as f:
            for windows in read_blocks(f):
                spans = list(zip(windows.offsets[:-1], windows.offsets[1:], strict=True))
                blocks.append(
                    [
                        Row(
                            int(n),
                            int(windows.documents[a]),
                            windows.ids[a:b].tolist(),
                            windows.counted[a:b].tolist(),
                        )
                        for n, (a, b) in zip(windows.number, spans, strict=True)
                    ]
                )
    return blocks


def listed(
    report: dict[str, Any], tail: str, sample: str = "top"
) -> list[tuple[int, int, int, float]]:
    return [
        (c["document"], c["window"], c["position"], c["activation"])
        for c in report["contexts"]
        if c["tail"] == tail and c["sample"] == sample
    ]


def compare_with_brute_force(
    model: LoadedModel,
    request: AnalysisRequest,
    texts: list[str],
    folder: Path,
    *,
    windows_known: bool,
    modules: Mapping[int, nn.Module] | None = None,
    leaving: bool = False,
) -> int:
    """Asserts that every list of every unit is the brute-force one.

    modules: whose input the units are, or what leaves them, by layer; None for MLP neurons. Returns
    how many ties there were in the lists.
    """
    analyse(model, request, texts, folder)
    blocks = planned_blocks(folder)
    rows = sorted((row for block in blocks for row in block), key=lambda r: r.number)
    if windows_known:
        cut = brute_force.cut(model.tokenizer, texts, request.contexts.window)
        assert [(r.document, r.ids) for r in rows] == cut
    layers = [int(n) for n in request.neurons.layers]
    kept = brute_force.keep_activations(
        model.parts.body,
        modules or {n: model.parts.projections[n] for n in layers},
        blocks,
        leaving=leaving,
    )
    ids = {r.number: r.ids for r in rows}
    ties = 0
    for layer in layers:
        reports = pq.read_table(folder / "result" / report_file(layer)).to_pylist()
        for tail, sign in (("positive", 1.0), ("negative", -1.0)):
            all_peaks = brute_force.peaks_of(kept[layer], rows, sign)
            for report, peaks in zip(reports, all_peaks, strict=True):
                one = request.contexts.per_document == 1
                if request.contexts.near_duplicates == "keep":
                    wanted = brute_force.best(peaks, request.contexts.top_k, one_a_document=one)
                else:
                    spare = max(4, request.contexts.top_k // 4)
                    ranked = brute_force.best(
                        peaks, request.contexts.top_k + spare, one_a_document=one
                    )
                    wanted, _ = brute_force.without_copies(ranked, ids, request.contexts.top_k)
                expected = [
                    (p.document, p.window, p.position, np.float32(sign * p.value)) for p in wanted
                ]
                assert listed(report, tail) == expected, (layer, report["neuron"], tail)
                values = [p.value for p in wanted]
                ties += len(values) - len(set(values))
        check_statistics(reports, kept[layer], rows)
    return ties


def check_statistics(
    reports: list[dict[str, Any]], kept: dict[int, np.ndarray], rows: list[Row]
) -> None:
    everything = np.concatenate([kept[r.number][np.array(r.counted)] for r in rows]).astype(
        np.float64
    )  # (T, N)
    edges = np.array(histogram_edges())
    mean, std = everything.mean(0), everything.std(0)
    for n, report in enumerate(reports):
        values = everything[:, n]
        assert report["n_tokens"] == len(values)
        assert report["density"] == pytest.approx((values > 0).mean(), abs=1e-12)
        assert (report["min"], report["max"]) == (values.min(), values.max())
        assert report["mean"] == pytest.approx(mean[n], rel=1e-6, abs=1e-9)
        assert report["std"] == pytest.approx(std[n], rel=1e-6, abs=1e-9)
        if std[n] > 1e-3 * abs(mean[n]):
            scaled = (values - mean[n]) / std[n]
            assert report["skewness"] == pytest.approx((scaled**3).mean(), rel=1e-4, abs=1e-4)
            assert report["kurtosis"] == pytest.approx((scaled**4).mean() - 3, rel=1e-4, abs=1e-4)
        assert sum(report["histogram"]) == len(values)
        first = report["histogram_first"]
        assert edges[first] <= values.min() <= edges[first + 1]


def quantise_inputs(model: LoadedModel, step: float) -> list[Any]:
    """Rounds what goes into the MLP output projections, so that many activations are equal."""

    def rounded(_module: Any, inputs: Any) -> Any:
        return (torch.round(inputs[0] / step) * step, *inputs[1:])

    return [p.register_forward_pre_hook(rounded) for p in model.parts.projections]


def tiny_request(model: LoadedModel, **contexts: Any) -> AnalysisRequest:
    chosen = {"window": 32, "top_k": 6, "tails": "both", "display_tokens": 9} | contexts
    return AnalysisRequest(model.card.id, "c", Neurons(layers=(0, 1, 2)), Contexts(**chosen))


# The module whose input or output a site is, by family and from a block: another than the one that
# the analysis hooks where there is one.
PLACES = {
    "resid_pre": ("", False),
    "resid_post": ("", True),
    "mlp_in": ("mlp", False),
}
SITES = {
    "llama": {
        **PLACES,
        "resid_mid": ("post_attention_layernorm", False),
        "mlp_out": ("mlp", True),
        "mlp_out_raw": ("mlp", True),
        "attn_out": ("self_attn", True),
        "z": ("self_attn.o_proj", False),
    },
    "gpt2": {
        **PLACES,
        "resid_mid": ("ln_2", False),
        "mlp_out": ("mlp.dropout", True),
        "mlp_out_raw": ("mlp.c_proj", True),
        "attn_out": ("attn.resid_dropout", True),
        "z": ("attn.c_proj", False),
    },
    "gemma2": {
        **PLACES,
        "resid_mid": ("pre_feedforward_layernorm", False),
        "mlp_out": ("post_feedforward_layernorm", True),
        "mlp_out_raw": ("mlp", True),
        "attn_out": ("post_attention_layernorm", True),
        "z": ("self_attn.o_proj", False),
    },
    "gpt_neox": {
        **PLACES,
        "mlp_out": ("post_mlp_dropout", True),
        "mlp_out_raw": ("mlp", True),
        "attn_out": ("post_attention_dropout", True),
        "z": ("attention.dense", False),
    },
}


@pytest.mark.parametrize(
    ("name", "site"), [(name, site) for name, places in SITES.items() for site in places]
)
def test_every_unit_of_every_site_has_the_brute_force_contexts(
    tmp_path: Path, name: str, site: str
) -> None:
    model = load_tiny(name, tmp_path / "model")
    path, leaving = SITES[name][site]
    contexts = Contexts(window=32, top_k=6, tails="both", display_tokens=9)
    request = AnalysisRequest(
        model.card.id,
        "c",
        Neurons(site=site, layers=(0, 2)),
        contexts,
        Tokens(exclude_special=False),
        Senses(enabled=False),
    )

    compare_with_brute_force(
        model,
        request,
        make_texts(60, seed=3),
        tmp_path / "run",
        windows_known=False,
        modules={n: model.parts.blocks[n].get_submodule(path) for n in (0, 2)},
        leaving=leaving,
    )


@pytest.mark.parametrize("near_duplicates", ["keep", "drop"])
@pytest.mark.parametrize("per_document", [1, None])
def test_thousands_of_ties_are_broken_as_documented(
    tmp_path: Path, near_duplicates: str, per_document: int | None
) -> None:
    model = load_tiny("llama", tmp_path / "model")
    quantise_inputs(model, 4.0)
    request = tiny_request(
        model, top_k=15, near_duplicates=near_duplicates, per_document=per_document
    )

    ties = compare_with_brute_force(
        model, request, make_texts(120, seed=3), tmp_path / "run", windows_known=True
    )

    assert ties > 1000


@pytest.mark.parametrize("packing", ["document", "concat"])
def test_the_result_is_byte_identical_for_one_three_and_seven_shards(
    tmp_path: Path, packing: str
) -> None:
    model = load_tiny("gpt2", tmp_path / "model")
    request = tiny_request(model, packing=packing)
    texts = make_texts(400, seed=5)
    whole = analyse(model, request, texts, tmp_path / "1", shard_tokens=10**9)

    def shards_of(count: int) -> dict[str, bytes]:
        tokens = whole_tokens(whole) // count
        analysis = analyse(model, request, texts, tmp_path / str(count), shard_tokens=tokens)
        assert len(list((tmp_path / str(count) / "work/partials").iterdir())) >= count
        return files_of(tmp_path / str(count) / analysis.result)

    assert shards_of(3) == shards_of(7) == files_of(tmp_path / "1" / whole.result)


def whole_tokens(analysis: Analysis) -> int:
    return int(json.loads(analysis.store.read("result/manifest.json"))["plan"]["tokens"])


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_shards_run_again_in_another_order_change_nothing(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path / "model")
    request, texts = tiny_request(model), make_texts(200, seed=7)
    analysis = analyse(model, request, texts, tmp_path / "a", shard_tokens=500)
    before = files_of(tmp_path / "a/result")

    for shard in reversed(range(len(list((tmp_path / "a/work/partials").iterdir())))):
        scan_shard(analysis, model, shard)
    for layer in reversed(analysis.layers):
        merge_layer(analysis, model, layer)

    assert files_of(tmp_path / "a/result") == before


@pytest.fixture(scope="module")
def sample_model(sample_cache: Path) -> LoadedModel:
    entry = Entry("sample", "gguf", str(samples.find_model()))
    return load_model(entry, device="cpu", dtype="float32", cache=sample_cache)


@pytest.mark.model
@pytest.mark.parametrize(
    ("tokens", "layers"),
    [(3_000, (0, 9)), pytest.param(20_000, (0, 4, 9, 14, 19, 24), marks=pytest.mark.slow)],
)
def test_every_neuron_of_some_layers_of_a_real_model_has_the_brute_force_contexts(
    tmp_path: Path,
    sample_model: LoadedModel,
    sample_texts: Callable[[int], list[str]],
    tokens: int,
    layers: tuple[int, ...],
) -> None:
    contexts = Contexts(tails="both", near_duplicates="keep")
    request = AnalysisRequest("sample", "c", Neurons(layers=layers), contexts)

    compare_with_brute_force(
        sample_model, request, sample_texts(tokens), tmp_path / "run", windows_known=True
    )


@pytest.fixture
def sample_texts(sample_model: LoadedModel) -> Callable[[int], list[str]]:
    """Real texts of at least so many tokens: the sample corpus, then the rest of Python's
    reference.
    """

    def take(tokens: int) -> list[str]:
        texts = list(dict.fromkeys([*samples.corpus_texts(), *topics.values()]))
        counted = 0
        for end, text in enumerate(texts, 1):
            counted += len(tokenize(sample_model.tokenizer, [text])[0][0])
            if counted >= tokens:
                return texts[:end]
        raise AssertionError(f"the sample texts have only {counted} tokens")

    return take
