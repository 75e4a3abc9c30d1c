from __future__ import annotations

import numpy as np
import pytest

from benchmarks.senses.occurrences import cut_windows, find_occurrences
from benchmarks.senses.pairs import (
    FAR,
    SAME,
    SIBLING,
    Features,
    chances,
    draw_genres,
    draw_pairs,
    features_of,
    fit_model,
)
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import LETTERS, NUMBER, SIGN, WORDS
from tests.benchmarks.senses.test_units import make_document, tokenize


def test_chances_are_those_of_the_library() -> None:
    rng = np.random.default_rng(0)
    unit = lambda shape: (v := rng.normal(size=shape)) / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    material = Material(
        kind=WORDS,
        vectors=unit((30, 8)).astype(np.float32),
        uses=rng.normal(size=(30, 3)).astype(np.float32),
        encoded=unit((6, 5)).astype(np.float32),
        word=rng.integers(-1, 6, 30).astype(np.int32),
        spelling=np.array([LETTERS, LETTERS, LETTERS, SIGN, NUMBER, NUMBER], np.int8),
        random=unit((9, 8)).astype(np.float32),
        scales=np.array([1.0, 0.2, 0.1, 0.3, 0.5, 0.7]),
    )
    a, b = np.triu_indices(30, 1)

    wanted = material.chances(np.arange(30), np.arange(30))[a, b]

    assert chances(features_of(material, a, b), WORDS.narrow) == pytest.approx(wanted, abs=1e-5)


def test_the_fit_gives_back_the_model_that_pairs_were_drawn_with() -> None:
    rng, n = np.random.default_rng(0), 120_000
    z, e, f = rng.normal(size=(3, n))
    lettered = rng.random(n) < 0.8
    features = Features(rng.random(n) < 0.3, lettered, ~lettered & (rng.random(n) < 0.5), z, e, f)
    alike = rng.random(n) < chances(features, WORDS.narrow)

    fitted = fit_model(features, alike)

    assert fitted.same == pytest.approx(WORDS.narrow.same, abs=0.15)
    assert fitted.plain == pytest.approx(WORDS.narrow.plain, abs=0.15)
    assert chances(features, fitted) == pytest.approx(chances(features, WORDS.narrow), abs=0.1)


def test_pairs_are_of_two_documents_and_labelled_by_their_concepts() -> None:
    words = [(w, "nn") for w in ("january", "june", "monday", "weekend", "bread", "court")]
    genres = ("a", "b", "c", "d")
    documents = [make_document(f"d{i}", words * 3, genres[i % 4]) for i in range(40)]
    found = find_occurrences(cut_windows(documents, tokenize), documents)
    rng = np.random.default_rng(0)

    pairs = draw_pairs(found, "development", 40, rng)
    topics = draw_genres(found, "development", rng)

    assert (found.document[pairs.a] != found.document[pairs.b]).all()
    near = pairs.label == SIBLING
    assert set(found.forms[found.form[pairs.a[near]]].tolist()) <= {
        "january", "june", "monday", "weekend",
    }  # fmt: skip
    assert {FAR, SIBLING, SAME} == set(pairs.label.tolist())
    of_one = found.genre[topics.a] == found.genre[topics.b]
    assert of_one.tolist() == (topics.label == SAME).tolist()
