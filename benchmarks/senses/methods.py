"""Every method over the units it is for: the library with each kind of vectors, and what else
counts senses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.senses import baselines
from benchmarks.senses.judging import Verdict, judge
from benchmarks.senses.material import Material, fit_background
from benchmarks.senses.units import Unit
from polyseme.workers.analysis.corpus.words import peak_words
from polyseme.workers.analysis.senses.layer_senses import Background
from polyseme.workers.analysis.senses.spaces import Space, add_words

RESIDUAL, WORDS, WINDOW = "residual (default)", "residual+encoder", "window"
SENTENCE = "sentence encoder"  # a kind that the service does not offer
MEAN_COSINE = "MS, mean cosine"

COUNTED = ("T1", "T2", "T3", "T5", "T6")  # tiers that baselines are run on
SENTENCE_UNITS = 20  # of a tier that PRISM's way is run on; sentences take time

Methods = dict[str, list[Verdict]]


def judge_all(material: Material, background: Background, sentences: bool = True) -> Methods:
    places = np.concatenate([u.places for u in material.units])
    token = material.found.token[places]
    projected = material.project(background, places)
    residual = background.space(projected)
    methods = {
        RESIDUAL: judge(material.units, residual, token),
        WORDS: judge(material.units, _with_words(material, background, residual, places), token),
        WINDOW: judge(material.units, background.topic_space(projected), token),
    }
    methods |= _baselines(material, background)
    if sentences:
        methods[SENTENCE] = _by_sentence(material, [u for u in material.units if u.tier == "T5"])
        methods["PRISM, k-means 5"] = _prism(material)
    return methods


def _with_words(
    material: Material, background: Background, residual: Space, places: np.ndarray
) -> Space:
    def encode(near: np.ndarray) -> np.ndarray:
        middle = np.full(len(near), near.shape[1] // 2)
        return material.encoder.encode(peak_words(near, middle, material.vocabulary))

    return add_words(residual, encode(material.near(places)), encode(background.near))


def _by_sentence(material: Material, units: Sequence[Unit]) -> list[Verdict]:
    places = np.concatenate([u.places for u in units])
    random = material.sentences(*material.random)
    background = fit_background(random, random, 1, material.windows.ids, *material.random)
    sentences = _sentences(material, places)
    space = background.space(background.project(sentences, sentences))
    return judge(units, space, material.found.token[places])


def _baselines(material: Material, background: Background) -> Methods:
    units = [u for u in material.units if u.tier in COUNTED or u.kind == "random"]
    vectors = [background.space(material.project(background, u.places)).vectors for u in units]
    ways: dict[str, baselines.Grouping] = {
        "always one": baselines.always_one,
        "one a context": baselines.one_a_context,
        "SemanticLens, k-means 2": baselines.k_means(2),
        "HDBSCAN": baselines.hdbscan,
        "silhouette": baselines.silhouette,
    }
    made = {name: _grouped(units, vectors, way) for name, way in ways.items()}
    tokens = [material.found.token[u.places] for u in units]
    made["token identity"] = _grouped(units, tokens, baselines.by_token)
    return made


def _grouped(
    units: Sequence[Unit], given: Sequence[np.ndarray], way: Callable[[np.ndarray], np.ndarray]
) -> list[Verdict]:
    return [Verdict(unit, way(own), {}) for unit, own in zip(units, given, strict=True)]


def _prism(material: Material) -> list[Verdict]:
    """On some units of each tier, evenly spread over them."""
    chosen: list[Unit] = []
    for tier in ("T1", "T2", "T3"):
        units = [u for u in material.units if u.tier == tier]
        chosen += units[:: -(-len(units) // SENTENCE_UNITS)]
    vectors = _sentences(material, np.concatenate([u.places for u in chosen]))
    parts = np.split(vectors, np.cumsum([len(u.places) for u in chosen])[:-1])
    return _grouped(chosen, parts, baselines.k_means(5))


def _sentences(material: Material, places: np.ndarray) -> np.ndarray:
    return material.sentences(material.found.row[places], material.found.position[places])
