"""Analyses of texts in this process, and what their results say of each unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from polyseme.contract.files.results import GHOSTS, NEURONS
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.models.load import load_model
from polyseme.workers.analysis.run import run_analysis

UNITS = 256  # of a layer, evenly spread over it
_SCORES = (
    "polysemanticity",
    "polysemanticity_low",
    "polysemanticity_high",
    "sense_count",
    "coverage",
)


@dataclass(frozen=True, eq=False)
class Scores:
    """Of the units of a result, by layer and number. N of them; NaN where there is no score."""

    layer: np.ndarray  # (N,)
    status: np.ndarray  # (N,) str
    polysemanticity: np.ndarray  # (N,)
    polysemanticity_low: np.ndarray
    polysemanticity_high: np.ndarray
    sense_count: np.ndarray
    coverage: np.ndarray

    @classmethod
    def read(cls, result: Path, *, controls: bool = False) -> Scores:
        """result: a folder that a job or `scan_texts` left; controls: of the control units
        instead of its neurons.
        """
        rows, number = (GHOSTS, "ghost") if controls else (NEURONS, "neuron")
        found = pq.read_table(result / rows).sort_by(
            [("layer", "ascending"), (number, "ascending")]
        )
        return cls(
            layer=found.column("layer").to_numpy(),
            status=np.array(found.column("status").to_pylist()),
            **{name: found.column(name).cast("float64").to_numpy() for name in _SCORES},
        )

    def take(self, kept: np.ndarray) -> Scores:
        return Scores(**{name: column[kept] for name, column in vars(self).items()})


def scan_texts(
    model: Path,
    texts: Sequence[str],
    layers: Sequence[int],
    folder: Path,
    contexts: Contexts,
    units: int = UNITS,
) -> Path:
    """Analyses some units of some layers on texts, one thread. model: a folder.

    Returns the result's folder.
    """
    set_threads(1)
    entry = Entry("model", "path", str(model.resolve()))
    loaded = load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")
    whole = next(site.units for site in loaded.card.sites if site.site == "mlp")
    chosen = np.unique(np.linspace(0, whole - 1, units).astype(int)).tolist()
    request = AnalysisRequest(
        "model",
        "passages",
        neurons=Neurons(layers=tuple(layers), indices=tuple(chosen)),
        contexts=contexts,
    )
    run_analysis(loaded, request, texts, folder)
    return folder
