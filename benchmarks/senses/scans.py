"""Analyses of passages in this process, and what their results say of each neuron."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.senses.brown import Document
from polyseme.contract.files.results import MANIFEST, NEURONS
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.load import describe_model, load_model
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.regrouping import close_regrouping, read_corpus, regroup_layer


@dataclass(frozen=True, eq=False)
class Scores:
    """Of the neurons of a result, by layer and neuron. N of them."""

    layer: np.ndarray  # (N,)
    status: np.ndarray  # (N,) str
    effective: np.ndarray  # (N,) effective senses; NaN where there is no score
    count: np.ndarray  # (N,) senses; NaN where there is too little evidence
    coverage: np.ndarray  # (N,) NaN likewise

    @classmethod
    def read(cls, result: Path) -> Scores:
        """result: a folder that a job, `scan_passages` or a regrouping left."""
        found = pq.read_table(result / NEURONS).sort_by(
            [("layer", "ascending"), ("neuron", "ascending")]
        )

        def numbers(name: str) -> np.ndarray:
            values: np.ndarray = found.column(name).cast("float64").to_numpy()
            return values

        return cls(
            layer=found.column("layer").to_numpy(),
            status=np.array(found.column("status").to_pylist()),
            effective=numbers("effective_senses"),
            count=numbers("sense_count"),
            coverage=numbers("coverage"),
        )


def scan_passages(
    model: Path,
    passages: Sequence[Document],
    layers: Sequence[int],
    folder: Path,
    contexts: Contexts,
) -> Path:
    """Analyses all neurons of some layers on passages, one thread. model: a folder.

    Returns the result's folder.
    """
    set_threads(1)
    loaded = load_model(_entry(model), device="cpu", dtype="float32", cache=folder / "cache")
    request = AnalysisRequest(
        "model", "passages", neurons=Neurons(layers=tuple(layers)), contexts=contexts
    )
    run_analysis(loaded, request, [p.text for p in passages], folder)
    return folder


def regroup(result: Path, target: Path, model: Path, senses: Senses) -> Path:
    """Makes the senses of a result anew, into the folder `target`, which it returns. model: the
    result's, a folder.
    """
    set_threads(1)
    store, source = Store("/"), str(result.resolve()).lstrip("/")
    manifest = json.loads(store.read(f"{source}/{MANIFEST}"))
    new = str(target.resolve()).lstrip("/")
    analysis = Analysis(
        request=replace(AnalysisRequest.from_dict(manifest["request"]), senses=senses),
        corpus=read_corpus(store, source),
        card=describe_model(_entry(model), target / "cache"),
        store=store,
        work=f"{new}/work",
        result=new,
        lens=f"{new}/work/lens",
        block_tokens=manifest["block_tokens"],
        shard_tokens=0,
    )
    for layer in analysis.layers:
        regroup_layer(analysis, source, layer)
    close_regrouping(analysis, source)
    store.delete(analysis.work)
    return target


def _entry(model: Path) -> Entry:
    return Entry("model", "path", str(model.resolve()))
