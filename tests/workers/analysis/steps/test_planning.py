"""The calibration windows run in parts, which must not show in the bands."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyseme.contract.errors import Cancelled
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.corpus.plan import Plan, open_windows, window_priority
from polyseme.workers.analysis.corpus.windows import read_blocks
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.senses.firing import FIRES
from polyseme.workers.analysis.steps import planning
from polyseme.workers.analysis.steps.analysis import Analysis, bands_file
from polyseme.workers.analysis.steps.planning import (
    calibrate_part,
    count_parts,
    fix_bands,
    plan_windows,
)
from tests import brute_force
from tests.brute_force import Row
from tests.factories import make_corpus, make_request, make_texts
from tests.tiny_models import LAYERS, load_tiny
from tests.workers.analysis.builders import plan_analysis

TEXTS = make_texts(500, seed=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("planning"))


def make_analysis(
    model: LoadedModel,
    folder: Path,
    *,
    reused: dict[str, tuple[int, ...]] | None = None,
    **contexts: Any,
) -> Analysis:
    """Without senses, so that nothing but a sample asks for bands."""
    request = make_request(
        contexts={"window": 32, "tails": "both"} | contexts, senses={"enabled": False}
    )
    store = Store(str(folder))
    return Analysis(
        request,
        make_corpus(),
        model.card,
        store,
        "work",
        "result",
        "lens",
        256,
        2000,
        reused=reused or {},
    )


def read_bands(analysis: Analysis) -> bytes:
    return analysis.store.read(bands_file(analysis))


@pytest.mark.parametrize("sampling", ["interval", "quantile"])
def test_bands_have_the_same_bytes_for_any_number_of_parts(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: str
) -> None:
    found, counts = [], []
    for most in (1, 2, 3, 1000):
        monkeypatch.setattr(planning, "CALIBRATION_PARTS", most)
        analysis = make_analysis(model, tmp_path / str(most), sampling=sampling)
        plan_analysis(analysis, model, TEXTS)
        found.append(read_bands(analysis))
        counts.append(count_parts(analysis))

    assert counts[:3] == [1, 2, 3]
    assert counts[3] > 3
    assert len(set(found)) == 1


def test_parts_may_run_twice_and_in_any_order(model: LoadedModel, tmp_path: Path) -> None:
    analysis = make_analysis(model, tmp_path)
    plan_analysis(analysis, model, TEXTS)
    bands = read_bands(analysis)

    for part in (*reversed(range(count_parts(analysis))), 0):
        calibrate_part(analysis, model, part)
    fix_bands(analysis)

    assert read_bands(analysis) == bands


def test_a_neuron_fires_above_a_fifth_of_what_it_reaches_in_the_calibration_windows(
    model: LoadedModel, tmp_path: Path
) -> None:
    analysis = make_analysis(model, tmp_path)
    plan = plan_analysis(analysis, model, TEXTS)
    order = np.argsort(window_priority(np.arange(plan.windows)), kind="stable")
    chosen = set(order[: max(plan.windows // 20, 16)].tolist())

    rows = [row for row in read_rows(analysis, plan) if row.number in chosen]
    kept = brute_force.keep_activations(
        model.parts.body, {1: model.parts.projections[1]}, [[row] for row in rows]
    )
    most = np.concatenate([kept[1][row.number][np.array(row.counted)] for row in rows]).max(0)

    assert len(rows) > 16
    found = read_arrays(analysis.store, bands_file(analysis), "001/positive/")["fires"]
    np.testing.assert_allclose(found, np.where(most > 0, FIRES * most, np.inf), rtol=1e-4)


def read_rows(analysis: Analysis, plan: Plan) -> Iterator[Row]:
    for shard in range(len(plan.shards)):
        with open_windows(analysis.store, analysis.work, plan, shard) as f:
            for windows in read_blocks(f):
                for n, (a, b) in zip(windows.number, pairwise(windows.offsets), strict=True):
                    document = int(windows.documents[a])
                    yield Row(
                        int(n), document, windows.ids[a:b].tolist(), windows.counted[a:b].tolist()
                    )


def test_layers_that_are_taken_over_are_not_calibrated(model: LoadedModel, tmp_path: Path) -> None:
    whole, some = (
        make_analysis(model, tmp_path / "a"),
        make_analysis(model, tmp_path / "b", reused={"job_a": (0, 2)}),
    )
    for analysis in (whole, some):
        plan_analysis(analysis, model, TEXTS)

    found, wanted = (
        read_arrays(analysis.store, bands_file(analysis)) for analysis in (some, whole)
    )

    assert sorted(found) == [name for name in sorted(wanted) if name.startswith("001/")]
    assert all(np.array_equal(array, wanted[name]) for name, array in found.items())


def test_an_analysis_that_samples_nothing_has_no_parts(model: LoadedModel, tmp_path: Path) -> None:
    analysis = make_analysis(model, tmp_path, sampled=0)

    plan_analysis(analysis, model, TEXTS)

    assert count_parts(analysis) == 0
    assert analysis.store.names("work/calibration") == []
    assert not analysis.store.exists(bands_file(analysis))


def test_a_part_that_is_stopped_between_two_blocks_writes_nothing(
    model: LoadedModel, tmp_path: Path
) -> None:
    analysis = make_analysis(model, tmp_path)
    plan_windows(analysis, model, TEXTS)
    asked = iter([False] * LAYERS + [True])

    with pytest.raises(Cancelled):
        calibrate_part(analysis, model, 0, should_stop=lambda: next(asked))

    assert analysis.store.names("work/calibration") == ["windows.npz"]
