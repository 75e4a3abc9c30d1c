"""Text to token ids and back, and what a model's tokenizer puts around a text.

Knows tokenizers; windows and documents are the planner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyseme.contract.errors import InvalidRequest
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import Bos
from polyseme.workers.analysis.models.token_spans import empty_dummies, mend_spans
from polyseme.workers.analysis.models.token_texts import find_dummies

Tokenized = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Framing:
    """Token ids around the text of every window."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: (
        int | None
    )  # ends a document when several are joined; None when the tokenizer has no such token
    special: frozenset[
        int
    ]  # every token that stands for no text; the unknown token stands for some, so it is not here
    pad: int  # a valid id to fill up with; nothing may depend on it


def frame(tokenizer: Any, card: ModelCard, bos: Bos) -> Framing:
    """What goes around a text. bos: "model" is what the tokenizer itself adds; "always" puts its
    first token in front even where it would not, of an encoder its last token behind as well;
    "never" adds nothing on either side.

    Raises InvalidRequest for "always" when the tokenizer has no such token.
    """
    prefix, suffix = added_around(tokenizer)
    if bos == "never":
        prefix, suffix = (), ()
    elif bos == "always" and not prefix:
        prefix = (_require_first(tokenizer, card),)
        if card.kind == "encoder" and not suffix and tokenizer.sep_token_id is not None:
            suffix = (tokenizer.sep_token_id,)
    return Framing(
        prefix,
        suffix,
        separator_token(tokenizer),
        _special(tokenizer),
        _filling(tokenizer, card.vocabulary),
    )


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[Tokenized]:
    """Of each text its token ids, and where each token starts and ends in it, in characters; all
    (tokens,).

    Adds no special tokens and cuts nothing off. A text is only text: "<|im_end|>" in it is spelled
    out, never the control token. Parts of a character that is split over several tokens all have
    that character's place; what stands for nothing in the text has an empty one.
    """
    backend = tokenizer.backend_tokenizer
    _free(backend)
    dummies = find_dummies(backend)
    encodings = _encode(backend, texts)
    return [_columns(*pair, dummies) for pair in zip(texts, encodings, strict=True)]


def _encode(backend: Any, texts: Sequence[str]) -> Any:
    """Without the tokenizer's last step, which may cut white space off the tokens' places."""
    last, backend.post_processor = backend.post_processor, None
    try:
        return backend.encode_batch(list(texts), add_special_tokens=False)
    finally:
        backend.post_processor = last


def added_around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer puts before and behind a text of its own accord."""
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start]), tuple(whole[start + len(bare) :])
    raise ValueError(
        f"the tokenizer makes {whole} of a text and special tokens, but {bare} of the text alone"
    )


def first_token(tokenizer: Any) -> int | None:
    """The token for the beginning of a text: BOS, or [CLS]."""
    return tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def separator_token(tokenizer: Any) -> int | None:
    """The token that ends a document: EOS, or [SEP]."""
    return tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id


def largest_text_id(tokenizer: Any) -> int:
    """The largest id that a text can turn into: of all tokens but the special ones."""
    special = _special(tokenizer)
    return max(i for i in tokenizer.get_vocab().values() if i not in special)


def _require_first(tokenizer: Any, card: ModelCard) -> int:
    token = first_token(tokenizer)
    if token is None:
        raise InvalidRequest(
            f'"always": {card.id} has no beginning-of-text token; use "model" or "never"',
            pointer="/tokens/bos",
        )
    return token


def _special(tokenizer: Any) -> frozenset[int]:
    marked = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    named |= {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id}
    return frozenset(
        (marked | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id} | (named - {None})
    )


def _filling(tokenizer: Any, size: int) -> int:
    # Some tokenizers have a padding token that the model has no embedding for.
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((i for i in candidates if i is not None and i < size), 0)


def _free(backend: Any) -> None:
    """Undoes what a tokenizer file may bring along: cutting, padding, control tokens found in
    text.
    """
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True


def _columns(text: str, encoding: Any, dummies: Sequence[int]) -> Tokenized:
    ids = np.array(encoding.ids, dtype=np.int32)
    starts, ends = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2).T
    ends = empty_dummies(text, np.isin(ids, dummies), starts, ends)
    return ids, *mend_spans(text, starts, ends)
