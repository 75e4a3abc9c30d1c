from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

from polyseme.contract.errors import InvalidRequest
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import Bos
from polyseme.workers.analysis.models.load import describe_model
from polyseme.workers.analysis.models.tokenizer import take_tokenizer
from polyseme.workers.analysis.models.tokens import Framing, frame, tokenize
from tests.tiny_models import bos_tokenizer, framed_tokenizer, plain_tokenizer, save_model

FAMILY = "👩\u200d👩\u200d👧"


def card_for(name: str, folder: Path, tokenizer: Any) -> ModelCard:
    entry: Entry = save_model(name, folder, tokenizer=tokenizer)
    return describe_model(entry, folder / "cache")


def framing_of(tokenizer: Any, card: ModelCard, bos: Bos) -> Framing:
    return frame(take_tokenizer(tokenizer), card, bos)


def test_a_plain_tokenizer_adds_nothing_unless_told(tmp_path: Path) -> None:
    tokenizer = plain_tokenizer()
    card = card_for("gpt2", tmp_path, tokenizer)
    end = tokenizer.convert_tokens_to_ids("<|end|>")

    assert card.bos == "available"
    assert [framing_of(tokenizer, card, bos).prefix for bos in ("model", "always", "never")] == [
        (),
        (end,),
        (),
    ]
    assert framing_of(tokenizer, card, "always").suffix == ()


def test_a_tokenizer_that_begins_texts_does_so_unless_told_not_to(tmp_path: Path) -> None:
    tokenizer = bos_tokenizer()
    card = card_for("llama", tmp_path, tokenizer)

    assert card.bos == "added"
    assert [framing_of(tokenizer, card, bos).prefix for bos in ("model", "always", "never")] == [
        (1,),
        (1,),
        (),
    ]
    assert framing_of(tokenizer, card, "model").separator == 2


def test_an_encoder_is_framed_on_both_sides_or_not_at_all(tmp_path: Path) -> None:
    tokenizer = framed_tokenizer()
    card = card_for("bert", tmp_path, tokenizer)

    model, never = (
        framing_of(tokenizer, card, "model"),
        framing_of(tokenizer, card, "never"),
    )

    assert (model.prefix, model.suffix, model.separator) == ((2,), (3,), 3)
    assert (never.prefix, never.suffix, never.separator) == ((), (), 3)
    assert framing_of(tokenizer, card, "always") == model


def test_an_encoder_without_a_template_is_framed_when_told(tmp_path: Path) -> None:
    tokenizer = framed_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    card = card_for("bert", tmp_path, tokenizer)

    framing = framing_of(tokenizer, card, "always")

    assert (card.bos, framing.prefix, framing.suffix) == ("available", (2,), (3,))


def test_the_unknown_token_stands_for_text_and_the_others_do_not(tmp_path: Path) -> None:
    tokenizer = framed_tokenizer()
    card = card_for("bert", tmp_path, tokenizer)

    framing = framing_of(tokenizer, card, "model")

    assert framing.special == {0, 2, 3, 4}
    assert framing.pad == 0


def test_a_token_for_the_beginning_that_is_not_there_cannot_be_asked_for(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain_tokenizer().backend_tokenizer)
    card = card_for("gpt2", tmp_path, tokenizer)

    assert (card.bos, card.separator) == ("none", False)
    with pytest.raises(InvalidRequest, match="tiny-gpt2 has no beginning-of-text token") as caught:
        framing_of(tokenizer, card, "always")
    assert caught.value.details[0].pointer == "/tokens/bos"


def test_filling_up_takes_a_token_that_the_model_has(tmp_path: Path) -> None:
    tokenizer = plain_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    card = card_for("gpt2", tmp_path, tokenizer)
    small = ModelCard(**{**vars(card), "vocabulary": tokenizer.pad_token_id})

    assert framing_of(tokenizer, card, "model").pad == tokenizer.pad_token_id
    assert framing_of(tokenizer, small, "model").pad == tokenizer.eos_token_id


@pytest.mark.parametrize("make", [plain_tokenizer, bos_tokenizer, framed_tokenizer])
def test_a_text_has_the_tokens_of_the_tokenizer_without_its_frame(make: Any) -> None:
    tokenizer = make()
    text = "The quick brown fox, in 1996."

    [(ids, starts, ends)] = tokenize(tokenizer, [text])

    assert ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert {ids.dtype, starts.dtype, ends.dtype} == {np.dtype(np.int32)}
    assert (starts >= 0).all()
    assert (ends <= len(text)).all()


def test_places_are_characters_of_the_text_whatever_their_bytes() -> None:
    tokenizer = plain_tokenizer()
    text = f"naïve {FAMILY} cafe\u0301 日本"

    [(ids, starts, ends)] = tokenize(tokenizer, [text])

    assert starts[0] == 0
    assert ends[-1] == len(text)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        piece = tokenizer.backend_tokenizer.decode([int(ids[i])])
        if "\ufffd" not in piece:
            assert text[start:end].startswith(piece)
    covered = {c for start, end in zip(starts, ends, strict=True) for c in range(start, end)}
    assert covered == set(range(len(text)))


def test_bytes_of_one_character_share_its_place() -> None:
    [(ids, starts, ends)] = tokenize(plain_tokenizer(), ["a👩b"])

    assert len(ids) == 6
    assert starts.tolist() == [0, 1, 1, 1, 1, 2]
    assert ends.tolist() == [1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("trim_offsets", [False, True])
def test_places_are_those_before_normalisation(trim_offsets: bool) -> None:
    tokenizer = plain_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)

    [(ids, starts, ends)] = tokenize(tokenizer, ["cafe\u0301 x"])

    assert tokenizer.backend_tokenizer.decode(ids.tolist()) == "caf\u00e9 x"
    assert {(3, 5), (5, 6), (6, 7)} >= set(
        zip(starts[-4:].tolist(), ends[-4:].tolist(), strict=True)
    )


def test_a_byte_level_token_has_the_space_it_begins_with_whatever_its_file_says() -> None:
    tokenizer = plain_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)

    [(_, starts, ends)] = tokenize(tokenizer, ["  the  fox "])

    assert starts.tolist() == [0, *ends[:-1].tolist()]
    assert ends[-1] == 11
    assert tokenizer.backend_tokenizer.post_processor is not None


def test_a_space_that_is_put_before_the_text_stands_nowhere() -> None:
    [(ids, starts, ends)] = tokenize(bos_tokenizer(), ["日"])
    [(_, own, behind)] = tokenize(bos_tokenizer(), [" 日"])

    assert len(ids) == 4
    assert (starts.tolist(), ends.tolist()) == ([0, 0, 0, 0], [0, 1, 1, 1])
    assert (own.tolist(), behind.tolist()) == ([0, 1, 1, 1], [1, 2, 2, 2])


@pytest.mark.parametrize(
    ("make", "lookalike"),
    [(plain_tokenizer, "<|end|>"), (bos_tokenizer, "</s>"), (framed_tokenizer, "[SEP]")],
)
def test_a_text_that_spells_a_control_token_is_only_text(make: Any, lookalike: str) -> None:
    tokenizer = make()
    control = tokenizer.convert_tokens_to_ids(lookalike)
    assert control in tokenizer(f"a {lookalike} b")["input_ids"]

    [(ids, starts, ends)] = tokenize(tokenizer, [f"a {lookalike} b"])

    assert control not in ids
    assert len(ids) > 3
    assert [starts[0], ends[-1]] == [0, len(lookalike) + 4]


def test_limits_that_a_tokenizer_file_brings_along_are_lifted() -> None:
    tokenizer = framed_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)

    [(ids, _, _), (short, _, _)] = tokenize(tokenizer, ["fox " * 20, "fox"])

    assert len(ids) == 20 * len(short)


def test_no_text_has_no_tokens() -> None:
    [(ids, starts, ends)] = tokenize(plain_tokenizer(), [""])

    assert (ids.shape, starts.shape, ends.shape) == ((0,), (0,), (0,))
    assert tokenize(plain_tokenizer(), []) == []
