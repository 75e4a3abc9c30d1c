from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.senses import training
from benchmarks.senses.training import cut, fit, measure, train_tokenizer
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.load import load_model
from tests.benchmarks.senses.test_units import make_document

WORDS = [(word, "nn") for word in ("river", "bank", "money", "boat")] * 40
DOCUMENTS = [make_document(f"d{i}", WORDS) for i in range(6)]


def test_a_model_learns_the_text_and_is_one_that_the_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "BATCH", 2)
    monkeypatch.setattr(training, "RATE", 1e-2)
    monkeypatch.setattr(training, "WARM_UP", 1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(DOCUMENTS)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config)
    windows = cut(tokenizer, DOCUMENTS)
    before = measure(model, windows)

    fit(model, windows, 12, seed=0)

    assert measure(model, windows) < 0.8 * before
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    entry = Entry("small", "path", str(tmp_path))
    loaded = load_model(entry, device="cpu", dtype="float32", cache=tmp_path)
    assert loaded.card.site("mlp").units == 128


def test_documents_are_kept_apart_by_an_end() -> None:
    tokenizer = train_tokenizer(DOCUMENTS)

    windows = cut(tokenizer, DOCUMENTS)

    assert windows.shape[1] == 128
    assert (windows == tokenizer.eos_token_id).sum() > 0
    assert tokenizer.decode(windows[0, :4].tolist()).startswith("river bank")
