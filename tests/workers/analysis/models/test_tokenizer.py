"""The file tokenizes, whatever a class would make of it; the template says what goes around."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tokenizers
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from polyseme.contract.files.results import NEURONS
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokenizer import take_tokenizer
from polyseme.workers.analysis.models.tokens import frame, tokenize
from polyseme.workers.analysis.run import run_analysis
from tests.tiny_models import (
    bos_tokenizer,
    framed_tokenizer,
    load_tiny,
    plain_tokenizer,
    save_model,
)

TEXT = (
    "In 1987 the council met 14 times.\n\tdef f(x):\n        return x[0]  # 3.5 %\n"
    "水の中で 中文字 שלום עולם مرحبا Tiê\u0301ng Viê\u0323t naïve"
    " 👩\u200d👩\u200d👧 don't CAN'T\r\n"
)


def digits(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )


def words_of_three(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(r"\p{N}{1,3}|\s?\p{L}{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )


def lower_case(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])


def space_in_front(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def begins_texts(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )


def adds_words(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens(
        [AddedToken("council", normalized=False), AddedToken("naïve", lstrip=True)]
    )


CLASSES = (
    ("llama", "GPT2Tokenizer"),
    ("llama", "LlamaTokenizer"),
    ("llama", "PreTrainedTokenizerFast"),
    ("qwen2", "Qwen2Tokenizer"),
    ("qwen3", "Qwen2TokenizerFast"),
    ("gpt_neox", "GPTNeoXTokenizerFast"),
    ("olmo", "GPTNeoXTokenizer"),
    ("gpt_neo", "GPT2Tokenizer"),
    ("opt", "GPT2Tokenizer"),
    ("starcoder2", "GPT2TokenizerFast"),
    ("gpt2", "GPT2Tokenizer"),
    ("phi", "CodeGenTokenizer"),
    ("roberta", "RobertaTokenizer"),
    ("gemma", "GemmaTokenizer"),
)
CHANGES = (words_of_three, lower_case, space_in_front, begins_texts, adds_words)


def save_as(family: str, folder: Path, tokenizer: Any, named: str, **settings: Any) -> Entry:
    """A tiny model whose tokenizer_config.json names a class, and has these settings."""
    entry = save_model(family, folder, tokenizer=tokenizer)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text()) | {"tokenizer_class": named} | settings
    file.write_text(json.dumps(config))
    return entry


def load(entry: Entry) -> LoadedModel:
    return load_model(entry, device="cpu", dtype="float32", cache=Path(entry.location) / "cache")


@pytest.mark.parametrize(
    ("family", "named", "change"),
    [(*each, digits) for each in CLASSES]
    + [(*each, change) for each in CLASSES[:4] for change in CHANGES],
)
def test_tokens_are_those_of_the_file_whatever_class_is_named(
    family: str, named: str, change: Any, tmp_path: Path
) -> None:
    tokenizer = plain_tokenizer()
    change(tokenizer.backend_tokenizer)
    model = load(save_as(family, tmp_path, tokenizer, named))
    file = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    [(ids, _, _)] = tokenize(model.tokenizer, [TEXT])
    framing = frame(model.tokenizer, model.card, "model")

    assert [*framing.prefix, *ids, *framing.suffix] == file.encode(TEXT).ids


def test_the_hash_is_of_what_tokenizes(tmp_path: Path) -> None:
    hashes = []
    for number, change in enumerate((lambda _: None, digits, begins_texts)):
        tokenizer = plain_tokenizer()
        change(tokenizer.backend_tokenizer)
        entry = save_as("llama", tmp_path / str(number), tokenizer, "GPT2Tokenizer")
        hashes.append(load(entry).tokenizer_sha256)

    assert len(set(hashes)) == 3


def nucleotides(template: str) -> Any:
    """Four letters, no unknown token, and a template."""
    vocabulary = {"<s>": 0, "</s>": 1, "<pad>": 2, "A": 3, "C": 4, "G": 5, "T": 6, "AT": 7}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("A", "T")]))
    tokenizer.add_special_tokens(["<s>", "</s>", "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@pytest.mark.parametrize(
    ("template", "prefix", "suffix"),
    [
        ("<s> $A </s>", (0,), (1,)),
        ("$A </s>", (), (1,)),
        ("<s> $A", (0,), ()),
        ("$A", (), ()),
        ("<s> <s> $A </s> <s>", (0, 0), (1, 0)),
    ],
)
def test_a_vocabulary_without_the_letters_of_a_probe_is_framed_as_its_template_says(
    template: str, prefix: tuple[int, ...], suffix: tuple[int, ...], tmp_path: Path
) -> None:
    model = load_tiny("llama", tmp_path, tokenizer=nucleotides(template))

    framing = frame(model.tokenizer, model.card, "model")

    assert (framing.prefix, framing.suffix) == (prefix, suffix)
    assert model.card.bos == ("added" if prefix else "available")


@pytest.mark.parametrize(
    ("processor", "around"),
    [
        (processors.RobertaProcessing(("</s>", 5), ("<s>", 4)), ((4,), (5,))),
        (processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)), ((2,), (3,))),
        (processors.ByteLevel(trim_offsets=True), ((), ())),
        (None, ((), ())),
        (
            processors.Sequence(
                [
                    processors.ByteLevel(trim_offsets=False),
                    processors.TemplateProcessing(single="a $A", special_tokens=[("a", 9)]),
                ]
            ),
            ((9,), ()),
        ),
    ],
)
def test_every_kind_of_template_is_asked(processor: Any, around: Any) -> None:
    tokenizer = plain_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processor or processors.Sequence([])

    found = take_tokenizer(tokenizer)

    assert (found.prefix, found.suffix) == around


@pytest.mark.parametrize(
    ("make", "settings", "around"),
    [
        (plain_tokenizer, {"add_bos_token": True}, ((0,), ())),
        (plain_tokenizer, {"add_bos_token": True, "add_eos_token": True}, ((0,), (0,))),
        (bos_tokenizer, {"add_bos_token": False}, ((), ())),
        (bos_tokenizer, {"add_bos_token": True, "add_eos_token": True}, ((1,), (2,))),
        (bos_tokenizer, {"add_eos_token": False}, ((1,), ())),
        (framed_tokenizer, {"add_bos_token": True}, ((2,), (3,))),
    ],
)
def test_what_the_owner_says_of_bos_and_eos_counts_before_the_template(
    make: Any, settings: dict[str, bool], around: Any, tmp_path: Path
) -> None:
    entry = save_as("llama", tmp_path, make(), "PreTrainedTokenizerFast", **settings)

    model = load(entry)

    assert (model.tokenizer.prefix, model.tokenizer.suffix) == around


@pytest.mark.parametrize("unknown_is", ["pad_token", "eos_token", "bos_token"])
def test_a_token_with_two_parts_counts_where_it_stands_for_text(
    unknown_is: str, tmp_path: Path
) -> None:
    vocabulary = {"[U]": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "fox": 4, "dog": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", unknown_is: "[U]"}
    begins = names["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begins} $A", special_tokens=[(begins, vocabulary[begins])]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[U]", **names)
    model = load_tiny("llama", tmp_path / "model", tokenizer=wrapped)
    request = AnalysisRequest.from_dict(
        {"model": "m", "corpus": {"id": "c"}, "senses": {"enabled": False}}
    )

    run_analysis(model, request, ["fox cat dog", "cat"], tmp_path / "result")

    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["counted_tokens"] == 4  # "cat" is unknown, and text all the same


def test_letters_alone_give_what_the_model_gives_of_the_framed_text(tmp_path: Path) -> None:
    model = load_tiny("llama", tmp_path / "model", tokenizer=nucleotides("<s> $A </s>"))
    drawn = random.Random(3)
    texts = ["".join(drawn.choice("ACGT") for _ in range(30)) for _ in range(4)]
    kept: list[np.ndarray] = []
    model.parts.projections[1].register_forward_pre_hook(
        lambda _m, inputs: kept.append(inputs[0][0].float().numpy().copy())
    )
    file = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    with torch.inference_mode():
        for text in texts:
            model.parts.body(input_ids=torch.tensor([file.encode(text).ids]))
    expected = np.concatenate([rows[1:-1] for rows in kept]).max(axis=0)
    request = AnalysisRequest.from_dict(
        {
            "model": "m",
            "corpus": {"id": "c"},
            "neurons": {"layers": "1"},
            "senses": {"enabled": False},
        }
    )

    run_analysis(model, request, texts, tmp_path / "result")

    found = pq.read_table(tmp_path / "result" / NEURONS).sort_by("neuron")["max"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
