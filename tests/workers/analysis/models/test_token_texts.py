from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from polyseme.workers.analysis.models.token_texts import (
    find_dummies,
    read_vocabulary,
)
from polyseme.workers.analysis.models.tokens import tokenize
from tests.tiny_models import bos_tokenizer, framed_tokenizer, plain_tokenizer


def read_all(tokenizer: Any) -> list[str]:
    backend = tokenizer.backend_tokenizer
    return read_vocabulary(backend, max(backend.get_vocab().values()) + 1)


def read_text(tokenizer: Any, text: str) -> list[str]:
    texts = read_all(tokenizer)
    return [texts[i] for i in tokenize(tokenizer, [text])[0][0]]


def with_runs_of_spaces() -> Any:
    """SentencePiece as Llama 2 has it: runs of spaces are pieces, and spaces are written by the
    normaliser.
    """
    pieces = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), "▁", "▁▁", "▁▁▁▁", "▁▁if", "r", "if"]
    merges = [("▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "if")]
    tokenizer = Tokenizer(
        models.BPE(
            {p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def unigram() -> Any:
    vocabulary = [("<unk>", 0.0), ("▁", -1.0), ("▁the", -2.0), ("日本", -3.0), ("e", -4.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_the_vocabulary_reads_as_the_text_does() -> None:
    tokenizer = plain_tokenizer()
    text = "the lazy dog\n\tjumps   over"

    assert "".join(read_text(tokenizer, text)) == text
    assert read_all(tokenizer)[tokenizer.eos_token_id] == "<|end|>"


@pytest.mark.parametrize("text", ["if  r", "    r", "r      if"])
def test_runs_of_spaces_keep_all_their_spaces(text: str) -> None:
    tokenizer = with_runs_of_spaces()

    assert "".join(read_text(tokenizer, text)) == " " + text
    assert {"  ", "    ", "  if"} <= set(read_all(tokenizer))


def test_runs_of_spaces_that_were_added_are_spaces_too() -> None:
    tokenizer = with_runs_of_spaces()
    tokenizer.add_tokens(["▁▁▁", "▁word"])

    assert read_all(tokenizer)[-2:] == ["   ", "▁word"]


@pytest.mark.parametrize(
    "make", [plain_tokenizer, bos_tokenizer, framed_tokenizer, unigram, with_runs_of_spaces]
)
def test_added_tokens_read_as_they_were_added(make: Any) -> None:
    tokenizer = make()
    words = ["đêm", "Ġcafé", "##x", "日本語", "<|im_start|>"]
    tokenizer.add_tokens(words)

    texts = read_all(tokenizer)

    assert [texts[tokenizer.convert_tokens_to_ids(w)] for w in words] == words


def test_a_piece_of_sentencepiece_keeps_the_space_that_it_begins_with() -> None:
    assert "".join(read_text(bos_tokenizer(), "the lazy dog")) == " the lazy dog"
    assert read_text(unigram(), "the 日本") == [" the", " ", "日本"]


def test_wordpiece_says_which_token_goes_on_with_a_word() -> None:
    assert "".join(read_text(framed_tokenizer(), "Foxes")) == "fox##es"


@pytest.mark.parametrize("make", [plain_tokenizer, bos_tokenizer])
def test_a_part_of_a_character_reads_as_its_bytes(make: Any) -> None:
    assert "".join(read_text(make(), "👩")).strip() == "<0xF0><0x9F><0x91><0xA9>"


def test_bytes_that_are_characters_read_as_these() -> None:
    tokenizer = bos_tokenizer()

    texts = read_all(tokenizer)

    assert texts[tokenizer.convert_tokens_to_ids("<0x0A>")] == "\n"
    assert texts[tokenizer.convert_tokens_to_ids("<0xE6>")] == "<0xE6>"


def test_a_whole_character_among_parts_of_others_is_read() -> None:
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    [(piece, _)] = spell("本日 日")
    tokenizer = Tokenizer(models.BPE({piece[2:-2]: 0}, []))
    tokenizer.decoder = decoders.ByteLevel()

    assert read_vocabulary(tokenizer, 1) == ["<0xAC>日 <0xE6>"]


def test_an_end_of_a_word_is_not_printed() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"))
    tokenizer.decoder = decoders.BPEDecoder()

    assert read_vocabulary(tokenizer, 2) == ["a", "b"]


def test_a_token_without_a_text_of_its_own_is_shown_by_its_number() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 2, "[UNK]": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    assert read_vocabulary(tokenizer, 5) == ["a", "<unused 1>", "b", "[UNK]", "<unused 4>"]


def test_a_space_that_may_be_put_before_a_text_is_known() -> None:
    assert [bool(find_dummies(make().backend_tokenizer)) for make in (bos_tokenizer, unigram)] == [
        True,
        True,
    ]
    assert find_dummies(framed_tokenizer().backend_tokenizer) == []
