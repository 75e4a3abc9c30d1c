"""How the texts of byte-level vocabularies are cut before merging, by the name in a GGUF file.

The patterns are those of the models' own tokenizer.json files; llama.cpp gives each kind a name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + _SPACES
_GPT4O = (
    rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
) + _SPACES
_BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"


@dataclass(frozen=True)
class Splitting:
    """What happens to a text before its bytes are merged."""

    make: Callable[[], Any]  # a pre-tokenizer
    nfc: bool = False  # whether the text is composed first
    whole_words: bool = False  # whether a word that is a token is not merged
    bos: bool = False  # whether a text begins with BOS where the file does not say


def _bytes(*, use_regex: bool) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def _gpt2() -> Any:
    return _bytes(use_regex=True)


def _digits() -> Any:
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, _bytes(use_regex=True)])


def _falcon() -> Any:
    punctuation = pre_tokenizers.Punctuation(behavior="contiguous")
    threes = pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")
    return pre_tokenizers.Sequence([punctuation, _bytes(use_regex=True), threes])


def _pattern(pattern: str) -> Callable[[], Any]:
    def make() -> Any:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        return pre_tokenizers.Sequence([split, _bytes(use_regex=False)])

    return make


_KINDS = {
    "gpt-2 phi-2": Splitting(_gpt2),
    "olmo": Splitting(_gpt2, nfc=True),
    "smollm starcoder refact codeshell minerva-7b": Splitting(_digits),
    "llama-bpe llama3 llama-v3 falcon3": Splitting(_pattern(_LLAMA3), whole_words=True, bos=True),
    "dbrx smaug-bpe": Splitting(_pattern(_LLAMA3)),
    "qwen2": Splitting(_pattern(_QWEN2), nfc=True),
    "stablelm2 deepseek-r1-qwen": Splitting(_pattern(_QWEN2)),
    "tekken": Splitting(_pattern(_TEKKEN), whole_words=True, bos=True),
    "gpt-4o": Splitting(_pattern(_GPT4O)),
    "falcon": Splitting(_falcon),
    "bloom": Splitting(_pattern(_BLOOM)),
}
SPLITTINGS = {name: kind for names, kind in _KINDS.items() for name in names.split()}


def find_splitting(name: str | None) -> Splitting:
    """Raises ValueError for a name that is not known for certain, and for none."""
    if name is None:
        raise ValueError("it does not say how its texts are split (tokenizer.ggml.pre)")
    if name not in SPLITTINGS:
        raise ValueError(
            f"tokenizer.ggml.pre is {name!r}, which is not known; these are: "
            f"{', '.join(SPLITTINGS)}"
        )
    return SPLITTINGS[name]
