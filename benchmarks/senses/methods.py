"""Every method over the units it is for: the library with each kind of pairs, and what else counts
senses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.senses import baselines
from benchmarks.senses.judging import Verdict, find_places, judge_units
from benchmarks.senses.material import ReadCorpus
from benchmarks.senses.units import Unit
from polyseme.workers.analysis.senses.pairs import TOPICS, VECTORS, WORDS

DEFAULT, NO_ENCODER, WINDOW = "vectors and words (default)", "vectors, no encoder", "window"
MEAN_COSINE = "MS, mean cosine"

COUNTED = ("T1", "T2", "T3", "T5", "T6")  # tiers that baselines are run on
SENTENCE_UNITS = 20  # of a tier that PRISM's way is run on; sentences take time

Methods = dict[str, list[Verdict]]


def judge_all(read: ReadCorpus, units: Sequence[Unit], sentences: bool = True) -> Methods:
    kinds = {DEFAULT: WORDS, NO_ENCODER: VECTORS, WINDOW: TOPICS}
    methods = {name: judge_units(read, units, kind) for name, kind in kinds.items()}
    methods |= _baselines(read, units)
    if sentences:
        methods["PRISM, k-means 5"] = _prism(read, units)
    return methods


def _baselines(read: ReadCorpus, units: Sequence[Unit]) -> Methods:
    units = [u for u in units if u.tier in COUNTED or u.kind == "random"]
    places = [find_places(read, u.places) for u in units]
    vectors = [read.background.senses(read.project(*at)) for at in places]
    ways: dict[str, baselines.Grouping] = {
        "always one": baselines.always_one,
        "one a context": baselines.one_a_context,
        "SemanticLens, k-means 2": baselines.k_means(2),
        "HDBSCAN": baselines.hdbscan,
        "silhouette": baselines.silhouette,
    }
    made = {name: _grouped(units, vectors, way) for name, way in ways.items()}
    tokens = [read.corpus.windows.ids[at] for at in places]
    made["token identity"] = _grouped(units, tokens, baselines.by_token)
    return made


def _grouped(
    units: Sequence[Unit], given: Sequence[np.ndarray], way: Callable[[np.ndarray], np.ndarray]
) -> list[Verdict]:
    return [Verdict(unit, way(own), {}) for unit, own in zip(units, given, strict=True)]


def _prism(read: ReadCorpus, units: Sequence[Unit]) -> list[Verdict]:
    """On some units of each tier, evenly spread over them."""
    chosen: list[Unit] = []
    for tier in ("T1", "T2", "T3"):
        own = [u for u in units if u.tier == tier]
        chosen += own[:: max(-(-len(own) // SENTENCE_UNITS), 1)]
    vectors = read.sentences(*find_places(read, np.concatenate([u.places for u in chosen])))
    parts = np.split(vectors, np.cumsum([len(u.places) for u in chosen])[:-1])
    return _grouped(chosen, parts, baselines.k_means(5))
