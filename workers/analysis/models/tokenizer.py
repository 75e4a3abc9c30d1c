"""A model's tokenizer: what its tokenizer.json says, and the parts that its owner gives to tokens.

Libraries rebuild a tokenizer from its class and its vocabulary, and so may split a text otherwise
than the file does; here the file itself tokenizes, and a class only names the tokens with a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tokenizers
from tokenizers.models import WordLevel
from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file

_FILE = "tokenizer.json"
_PARTS = ("bos", "eos", "unk", "pad", "cls", "sep", "mask")


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """What turns a text into token ids, and what goes around it."""

    backend_tokenizer: Any  # of the library `tokenizers`, as the file has it
    parts: Mapping[str, int]  # of bos, eos, unk, pad, cls, sep and mask, those that it has: ids
    prefix: tuple[int, ...]  # what it puts before a text of its own accord
    suffix: tuple[int, ...]  # and behind one

    @cached_property
    def special(self) -> frozenset[int]:
        """Every token that stands for no text. The unknown token stands for some, whatever other
        part it has, unless it begins or ends texts.
        """
        added = self.backend_tokenizer.get_added_tokens_decoder().items()
        marked = {i for i, token in added if token.special} | set(self.parts.values())
        framing = {self.parts.get(part) for part in ("bos", "eos", "cls", "sep")}
        return frozenset(marked - ({self.parts.get("unk")} - framing))

    @property
    def first(self) -> int | None:
        """The token for the beginning of a text: BOS, or [CLS]."""
        return self.parts.get("bos", self.parts.get("cls"))

    @property
    def separator(self) -> int | None:
        """The token that ends a document: EOS, or [SEP]."""
        return self.parts.get("eos", self.parts.get("sep"))


def read_tokenizer(location: str, options: Mapping[str, Any]) -> TextTokenizer:
    """The tokenizer of a folder or a hub id: that of its tokenizer.json, or where it has none, what
    transformers makes of its other files.

    Raises ValueError when it cannot tell where in a text a token stands, and whatever the libraries
    raise over its files.
    """
    named = AutoTokenizer.from_pretrained(location, **options)
    where = {k: v for k, v in options.items() if k != "trust_remote_code"}
    file = cached_file(location, _FILE, _raise_exceptions_for_missing_entries=False, **where)
    if file is None and not named.is_fast:
        raise ValueError("it cannot tell where in the text a token stands")
    backend = tokenizers.Tokenizer.from_file(str(file)) if file else named.backend_tokenizer
    return take_tokenizer(named, backend, get_tokenizer_config(location, **options))


def take_tokenizer(
    named: Any, backend: Any = None, settings: Mapping[str, Any] | None = None
) -> TextTokenizer:
    """named: a tokenizer of transformers, whose names of tokens count; backend: what tokenizes, its
    own unless given; settings: its tokenizer_config.json.
    """
    backend = named.backend_tokenizer if backend is None else backend
    names = {part: getattr(named, f"{part}_token", None) for part in _PARTS}
    found = {part: backend.token_to_id(str(name)) for part, name in names.items() if name}
    parts = {part: i for part, i in found.items() if i is not None}
    prefix, suffix = _template(backend.post_processor)
    told = settings or {}
    return TextTokenizer(
        backend,
        parts,
        _as_told(prefix, parts.get("bos"), told.get("add_bos_token")),
        _as_told(suffix, parts.get("eos"), told.get("add_eos_token")),
    )


def _template(post_processor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a post-processor puts before and behind a text, whatever the text is: asked with
    a vocabulary of one word.
    """
    if post_processor is None:
        return (), ()
    probe = tokenizers.Tokenizer(WordLevel({"x": 0}, unk_token="x"))
    probe.post_processor = post_processor
    encoding = probe.encode("x")
    text = encoding.sequence_ids.index(0)
    return tuple(encoding.ids[:text]), tuple(encoding.ids[text + 1 :])


def _as_told(around: tuple[int, ...], token: int | None, told: bool | None) -> tuple[int, ...]:
    """What stands on one side of a text: add_bos_token and add_eos_token count before the template,
    as transformers has it.
    """
    if told is None or token is None or told is (token in around):
        return around
    return (token,) if told else tuple(i for i in around if i != token)
