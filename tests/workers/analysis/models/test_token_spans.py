"""Spans against what they must hold, for random texts and every kind of tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from polyseme.workers.analysis.models.token_spans import mend_spans
from polyseme.workers.analysis.models.tokens import tokenize
from tests.tiny_models import bos_tokenizer, framed_tokenizer, plain_tokenizer

Spans = list[tuple[int, int]]


def byte_level(
    normalizer: Any = None, *, trim_offsets: bool, add_prefix_space: bool = False
) -> Any:
    tokenizer = plain_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    if normalizer is not None:
        backend.normalizer = normalizer
    return tokenizer


def prepending() -> Any:
    """SentencePiece that writes its spaces in the normaliser, as Llama 2 does."""
    tokenizer = bos_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = None
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return tokenizer


def unigram() -> Any:
    """NFKC and single spaces, XLM-R's kind."""
    letters = [(chr(c), -5.0) for c in range(33, 127)]
    vocabulary = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁the", -2.0),
        ("日本", -3.0),
        ("é", -3.0),
        *letters,
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def without_unknown() -> Any:
    """A BPE that knows four letters and leaves everything else out."""
    tokenizer = Tokenizer(models.BPE({"A": 0, "C": 1, "G": 2, "T": 3}, []))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


KINDS = {
    "byte-level": byte_level(trim_offsets=False),
    "byte-level, trimmed": byte_level(trim_offsets=True),
    "byte-level, NFC": byte_level(normalizers.NFC(), trim_offsets=False),
    "byte-level, NFC, trimmed": byte_level(normalizers.NFC(), trim_offsets=True),
    "byte-level, space before": byte_level(trim_offsets=True, add_prefix_space=True),
    "sentencepiece, byte fallback": bos_tokenizer(),
    "sentencepiece, prepending": prepending(),
    "unigram": unigram(),
    "wordpiece": framed_tokenizer(),
    "no unknown token": without_unknown(),
}
PIECES = st.sampled_from(
    [
        "the", "The fox", "  ", " ", "\n", "\r", "\r\n", "\t", "e\u0301", "é", "日本", "ACGT",
        "👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "שָׁלוֹם", "हिन्दी", "\u1112\u1161\u11ab", "Å", "ﬁ",
        "\u200b", "\x00", "\u00a0", "\u3000", "\u2028", "\ufeff", "\ufffd", "İ", "x\u0323\u0307",
        "<0x41>", "##", "▁",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=12).map("".join)


def spans_of(tokenizer: Any, text: str) -> Spans:
    [(_, starts, ends)] = tokenize(tokenizer, [text])
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def left_out(text: str, spans: Spans) -> str:
    held = {c for start, end in spans for c in range(start, end)}
    return "".join(character for i, character in enumerate(text) if i not in held)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_the_tokens_of_a_text_leave_out_only_white_space(kind: str, text: str) -> None:
    spans = spans_of(KINDS[kind], text)

    if spans:
        assert left_out(text, spans).strip() == ""
    assert all(0 <= start <= end <= len(text) for start, end in spans)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.startswith("byte-level")])
@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_byte_level_tokens_leave_out_nothing(kind: str, text: str) -> None:
    tokenizer = KINDS[kind]

    spans = spans_of(tokenizer, text)

    assert left_out(text, spans) == ""


def test_text_and_its_decomposed_form_have_spans_of_whole_letters() -> None:
    text = "cafe\u0301 x"

    for kind in ("byte-level", "byte-level, NFC, trimmed", "sentencepiece, byte fallback"):
        spans = spans_of(KINDS[kind], text)
        assert (3, 5) in spans, kind
        assert not any(4 in span for span in spans), kind


@pytest.mark.parametrize(
    "sign", ["👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "שָׁ", "\u1112\u1161\u11ab", "日"]
)
@pytest.mark.parametrize("kind", ["byte-level", "byte-level, NFC", "sentencepiece, byte fallback"])
def test_every_piece_of_a_sign_has_the_place_of_the_whole(kind: str, sign: str) -> None:
    spans = spans_of(KINDS[kind], f"A{sign}G")

    inside = [(start, end) for start, end in spans if start == 1]
    assert len(inside) > 1
    assert set(inside) == {(1, 1 + len(sign))}


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece, byte fallback"])
def test_ends_of_lines_are_a_character_each(kind: str) -> None:
    spans = spans_of(KINDS[kind], "A\rC\r\nG")

    assert [(a, b) for a, b in spans if b > a] == [(i, i + 1) for i in range(6)]


@pytest.mark.parametrize(
    ("text", "given", "mended"),
    [
        ("a\x00 b", [(0, 1), (3, 4)], [(0, 2), (3, 4)]),
        ("a \x00b", [(0, 1), (3, 4)], [(0, 3), (3, 4)]),
        ("\x00 a", [(2, 3)], [(0, 3)]),
        ("  \x00a", [(3, 4)], [(2, 4)]),
        ("a\x00", [(0, 1)], [(0, 2)]),
        ("日\x00x", [(0, 1), (0, 1), (2, 3)], [(0, 2), (0, 2), (2, 3)]),
        ("a b", [(0, 0), (0, 1), (2, 3)], [(0, 0), (0, 1), (2, 3)]),
    ],
)
def test_what_no_token_holds_goes_to_the_one_before_it(
    text: str, given: Spans, mended: Spans
) -> None:
    starts, ends = np.array(given, np.int32).T

    found = mend_spans(text, starts, ends)

    assert list(zip(*(a.tolist() for a in found), strict=True)) == mended
    assert {a.dtype for a in found} == {np.dtype(np.int32)}
