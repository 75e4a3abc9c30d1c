"""A GGUF file's tokenizer gives the tokens of the tokenizer.json that it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from polyseme.workers.analysis.models.gguf.gguf_file import GgufFile
from polyseme.workers.analysis.models.gguf.splits import SPLITTINGS
from polyseme.workers.analysis.models.gguf.tokenizer_of import read_tokenizer_of
from tests.gguf_files import Keys, write_tokenizer
from tests.tiny_models import bos_tokenizer, plain_tokenizer

TEXT = (
    "In 1987 the council's 14 fires, 3.5 %:\n\n\tdef f(x):\n        return  x[0]\r\n  I'LL don't "
    "水の中で「中文字」 שלום עולם مرحبا Tiê\u0301ng Viê\u0323t naïve café"
    " 👩\u200d👩\u200d👧 HelloWorld a.b!? "
)


def write(path: Path, tokenizer: Any, pre: str | None, more: Keys = lambda _: None) -> GgufFile:
    writer = GGUFWriter(str(path), "llama")
    write_tokenizer(writer, tokenizer, pre)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufFile(path)


def ids(tokenizer: Tokenizer) -> list[int]:
    tokenizer.encode_special_tokens = True
    found: list[int] = tokenizer.encode(TEXT).ids
    return found


def split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


# As the tokenizer.json of a model of each kind has it.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
PLAIN = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), PLAIN])
PUBLISHED: dict[str, tuple[Any, Any]] = {
    "gpt-2": (None, PLAIN),
    "olmo": (normalizers.NFC(), PLAIN),
    "smollm": (None, DIGITS),
    "starcoder": (None, DIGITS),
    "llama-bpe": (None, split(LLAMA3)),
    "qwen2": (normalizers.NFC(), split(QWEN2)),
}


@pytest.mark.parametrize("pre", PUBLISHED)
def test_texts_are_split_as_the_name_says(pre: str, tmp_path: Path) -> None:
    original = plain_tokenizer()
    normalizer, pre_tokenizer = PUBLISHED[pre]
    if normalizer is not None:
        original.backend_tokenizer.normalizer = normalizer
    original.backend_tokenizer.pre_tokenizer = pre_tokenizer
    found, _ = read_tokenizer_of(write(tmp_path / "t.gguf", original, pre))

    assert ids(found) == ids(original.backend_tokenizer)


@pytest.mark.parametrize("pre", SPLITTINGS)
def test_every_splitting_keeps_every_character(pre: str, tmp_path: Path) -> None:
    found, _ = read_tokenizer_of(write(tmp_path / "t.gguf", plain_tokenizer(), pre))

    text = found.decode(found.encode(TEXT, add_special_tokens=False).ids)

    assert text == (found.normalizer.normalize_str(TEXT) if found.normalizer else TEXT)


def sentence_pieces(*, prefix: bool) -> Any:
    """Llama 2's tokenizer.json: spaces become ▁ before anything else, one is put in front."""
    tokenizer = bos_tokenizer()
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    inner = Tokenizer.from_str(json.dumps(backend | {"pre_tokenizer": None}))
    front = [normalizers.Prepend("▁")] if prefix else []
    inner.normalizer = normalizers.Sequence([*front, normalizers.Replace(" ", "▁")])
    names = {f"{role}_token": getattr(tokenizer, f"{role}_token") for role in ("bos", "eos", "unk")}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


@pytest.mark.parametrize("prefix", [True, False])
def test_pieces_of_sentences_are_merged_by_their_scores(prefix: bool, tmp_path: Path) -> None:
    original = sentence_pieces(prefix=prefix)

    def keys(writer: GGUFWriter) -> None:
        writer.add_add_space_prefix(prefix)

    found, settings = read_tokenizer_of(write(tmp_path / "t.gguf", original, None, keys))

    assert ids(found) == ids(original.backend_tokenizer)
    assert found.decode(found.encode("  two  spaces").ids, skip_special_tokens=True) == (
        "  two  spaces"
    )
    assert settings["bos_token"] == "<s>"


def test_pieces_of_sentences_are_merged_as_the_file_lists_it(tmp_path: Path) -> None:
    original = sentence_pieces(prefix=True)
    model = json.loads(original.backend_tokenizer.to_str())["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]

    found, _ = read_tokenizer_of(
        write(tmp_path / "t.gguf", original, None, lambda w: w.add_token_merges(pairs))
    )

    assert ids(found) == ids(original.backend_tokenizer)


def adds_words(tokenizer: Any) -> None:
    tokenizer.add_tokens([AddedToken("council", normalized=False)])
    tokenizer.add_tokens([AddedToken("naïve", normalized=False), "日本"])


def test_words_of_the_users_own_are_found_before_all_else(tmp_path: Path) -> None:
    original = plain_tokenizer()
    adds_words(original)

    found, _ = read_tokenizer_of(write(tmp_path / "t.gguf", original, "gpt-2"))

    assert ids(found) == ids(original.backend_tokenizer)
    assert original.convert_tokens_to_ids("naïve") in ids(found)


@pytest.mark.parametrize(
    ("make", "pre", "keys", "around"),
    [
        (plain_tokenizer, "gpt-2", lambda w: None, []),
        (plain_tokenizer, "gpt-2", lambda w: w.add_add_eos_token(True), [0]),
        (bos_tokenizer, None, lambda w: None, [1]),
        (bos_tokenizer, None, lambda w: w.add_add_eos_token(True), [1, 2]),
    ],
)
def test_texts_begin_and_end_as_the_file_says(
    make: Callable[[], Any], pre: str | None, keys: Keys, around: list[int], tmp_path: Path
) -> None:
    found, _ = read_tokenizer_of(write(tmp_path / "t.gguf", make(), pre, keys))

    assert found.encode("").ids == around


def test_a_vocabulary_with_two_tokens_of_one_text_is_refused(tmp_path: Path) -> None:
    writer = GGUFWriter(str(tmp_path / "t.gguf"), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["a", "b", "a"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(ValueError, match="two tokens of its vocabulary have the same text"):
        read_tokenizer_of(GgufFile(tmp_path / "t.gguf"))


@pytest.mark.parametrize(
    ("pre", "keys", "reason"),
    [
        ("my-own", lambda w: None, "tokenizer.ggml.pre is 'my-own', which is not known"),
        ("default", lambda w: None, "tokenizer.ggml.pre is 'default'"),
        (
            None,
            lambda w: w.add_remove_extra_whitespaces(True),
            "tokenizer.ggml.remove_extra_whitespaces is True",
        ),
        ("gpt-2", lambda w: w.add_add_space_prefix(True), "add_space_prefix is True"),
    ],
)
def test_what_is_not_known_of_a_tokenizer_is_refused(
    pre: str | None, keys: Keys, reason: str, tmp_path: Path
) -> None:
    tokenizer = bos_tokenizer() if pre is None else plain_tokenizer()

    with pytest.raises(ValueError, match=reason):
        read_tokenizer_of(write(tmp_path / "t.gguf", tokenizer, pre, keys))
