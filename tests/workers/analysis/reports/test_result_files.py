from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.columns import STORED
from polyseme.contract.files.results import (
    NEURONS,
    REPORT_ROWS,
    REPORTS,
    SCALARS,
    TOKENS,
    report_file,
)
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Tokens
from polyseme.workers.analysis.run import run_analysis
from tests.factories import make_texts
from tests.tiny_models import load_tiny


def analyse(folder: Path, name: str, contexts: dict[str, Any], **options: Any) -> Path:
    model = load_tiny(name, folder / "model", **options)
    chosen = Contexts(**{"window": 16, "top_k": 5, "display_tokens": 6} | contexts)
    request = AnalysisRequest(model.card.id, "c", Neurons(layers=(1,)), chosen, Tokens())
    run_analysis(model, request, make_texts(40, seed=1), folder / "out")
    return folder / "out"


def test_files_have_the_agreed_schemas_and_row_groups(tmp_path: Path) -> None:
    out = analyse(tmp_path, "llama", {"tails": "both"}, intermediate_size=2 * REPORT_ROWS + 2)

    reports = pq.ParquetFile(out / report_file(1))

    assert reports.schema_arrow.equals(REPORTS)
    assert pq.read_schema(out / NEURONS).equals(SCALARS)
    sizes = [reports.metadata.row_group(i).num_rows for i in range(reports.num_row_groups)]
    assert sizes == [REPORT_ROWS, REPORT_ROWS, 2]
    assert not (out / "work").exists()


def test_a_report_repeats_its_neurons_scalars(tmp_path: Path) -> None:
    out = analyse(tmp_path, "gpt2", {})

    scalars = pq.read_table(out / NEURONS).select(STORED).to_pylist()
    reports = pq.read_table(out / report_file(1)).to_pylist()

    assert [{name: report[name] for name in scalars[0]} for report in reports] == scalars


def test_counts_agree_with_the_contexts(tmp_path: Path) -> None:
    out = analyse(tmp_path, "llama", {"tails": "both"})

    for report in pq.read_table(out / report_file(1)).to_pylist():
        both = report["contexts"] + report["evidence"]
        positive = [c for c in both if c["tail"] == "positive"]
        assert report["top_contexts"] == sum(c["sample"] == "top" for c in positive)
        assert report["sampled_contexts"] == sum(c["sample"] == "activation" for c in positive)
        assert report["distinct_contexts"] == sum(c["activation"] > 0 for c in positive)
        assert sum(t["count"] for t in report["peak_tokens"]) == report["distinct_contexts"]
        assert len({c["window"] for c in positive}) == len(positive)


def test_sampled_contexts_lie_in_their_bands(tmp_path: Path) -> None:
    out = analyse(tmp_path, "llama", {"tails": "both", "sampling": "quantile", "bands": 5})

    for report in pq.read_table(out / report_file(1)).to_pylist():
        bands = {(b["tail"], b["band"]): b for b in report["bands"]}
        assert len(bands) == 10
        for context in report["contexts"]:
            if context["sample"] == "top":
                assert context["band"] is None
                continue
            band, sign = (
                bands[context["tail"], context["band"]],
                1 if context["tail"] == "positive" else -1,
            )
            assert sign * context["activation"] > sign * band["low"]
            assert band["high"] is None or sign * context["activation"] <= sign * band["high"]


def test_the_peak_in_the_display_is_the_exact_activation(tmp_path: Path) -> None:
    out = analyse(tmp_path, "llama", {})

    for report in pq.read_table(out / report_file(1)).to_pylist():
        for context in report["contexts"]:
            assert len(context["tokens"]) == len(context["activations"]) <= 6
            peak = context["position"] - context["display_start"]
            assert context["activations"][peak] == context["activation"]


@pytest.mark.parametrize(("name", "has_lens"), [("llama", True), ("bert", False)])
def test_only_models_with_an_unembedding_have_logits(
    tmp_path: Path, name: str, has_lens: bool
) -> None:
    out = analyse(tmp_path, name, {"sampled": 0})

    reports = pq.read_table(out / report_file(1))

    assert (reports.column("promoted").null_count == 0) is has_lens
    assert set(reports.column("bands").to_pylist()[0]) == set()
    assert pq.read_table(out / TOKENS).num_rows == 512
