"""Dictionaries on a model and texts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from polyseme.contract.errors import AnalysisError, DictionaryLoadError
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary, Place
from polyseme.workers.analysis.dictionary_fit import measure_on_model
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import tokenize
from tests.tiny_models import LAYERS, load_tiny
from tests.workers.analysis.dictionaries.planted import K, collect, place, train

WINDOW = 50  # tokens of each text


WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "when",
    "prices",
    "rise",
    "and",
    "courts",
    "hear",
    "cases",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(5)
    return [" ".join(draw.choices(WORDS, k=80)) for _ in range(24)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def dictionary(model: LoadedModel, texts: list[str]) -> Dictionary:
    ids = [tokenize(model.tokenizer, [text])[0][0][:WINDOW] for text in texts]
    found = collect(model, torch.tensor([list(row) for row in ids]))
    there = place("resid_post", 1)
    trained = train(there, there, found, 96)
    return replace(trained, notes=replace(trained.notes, context_size=WINDOW))


def at(dictionary: Dictionary, there: Place) -> Dictionary:
    return replace(dictionary, source=there, target=there)


def test_a_dictionary_of_the_model_fits_its_place_best(
    model: LoadedModel, dictionary: Dictionary, texts: list[str]
) -> None:
    fit = measure_on_model(model, dictionary, texts)

    assert fit.misfits == ()
    assert fit.here.unexplained is not None
    assert fit.here.unexplained < 0.3
    assert round(fit.here.l0) == K
    # Each text gives windows of 50 tokens, the first of which does not count.
    assert fit.here.tokens > 24 * (WINDOW - 1)
    assert set(fit.elsewhere) == {
        "blocks.0.hook_resid_post",
        "blocks.2.hook_resid_post",
        "blocks.1.hook_resid_pre",
        "blocks.1.hook_resid_post with b_dec left on its input",
    }


def test_a_layer_too_high_the_layer_below_fits_better(
    model: LoadedModel, dictionary: Dictionary, texts: list[str]
) -> None:
    fit = measure_on_model(model, at(dictionary, place("resid_post", 2)), texts)

    assert "elsewhere" in {misfit.code for misfit in fit.misfits}
    assert any("it fits blocks.1.hook_resid_post better" in m.detail for m in fit.misfits)


def test_only_the_first_tokens_are_read(
    model: LoadedModel, dictionary: Dictionary, texts: list[str]
) -> None:
    fit = measure_on_model(model, dictionary, texts, most=120)

    assert fit.here.tokens == 2 * (WINDOW - 1)


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (place("resid_post", LAYERS), "layer 3: the model has 0 to 2"),
        (place("mlp", 1), "it reads 32 numbers a token, mlp has 48"),
    ],
)
def test_a_place_that_cannot_be_read_is_named(
    there: Place, sentence: str, model: LoadedModel, dictionary: Dictionary, texts: list[str]
) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        measure_on_model(model, at(dictionary, there), texts)


def test_blank_texts_give_no_figures(model: LoadedModel, dictionary: Dictionary) -> None:
    with pytest.raises(AnalysisError, match="the texts give no token that counts"):
        measure_on_model(model, dictionary, [" ", ""])
