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
from polyseme.workers.analysis.models.tokenizer import TextTokenizer

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

    def around(self, size: int) -> NDArray[np.bool_]:
        """(size,) of a window: True where a token is none of its text."""
        text = np.zeros(size - len(self.prefix) - len(self.suffix), bool)
        return np.pad(text, (len(self.prefix), len(self.suffix)), constant_values=True)


def frame(tokenizer: TextTokenizer, card: ModelCard, bos: Bos) -> Framing:
    """What goes around a text. bos: "model" is what the tokenizer itself adds; "always" puts its
    first token in front even where it would not, of an encoder its last token behind as well;
    "never" adds nothing on either side.

    Raises InvalidRequest for "always" when the tokenizer has no such token.
    """
    prefix, suffix = tokenizer.prefix, tokenizer.suffix
    if bos == "never":
        prefix, suffix = (), ()
    elif bos == "always" and not prefix:
        prefix = (_require_first(tokenizer, card),)
        if card.kind == "encoder" and not suffix and "sep" in tokenizer.parts:
            suffix = (tokenizer.parts["sep"],)
    return Framing(
        prefix,
        suffix,
        tokenizer.separator,
        tokenizer.special,
        _filling(tokenizer, card.vocabulary),
    )


def tokenize(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Tokenized]:
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


def largest_text_id(tokenizer: TextTokenizer) -> int:
    """The largest id that a text can turn into: of all tokens but the special ones."""
    ids = tokenizer.backend_tokenizer.get_vocab().values()
    return max(i for i in ids if i not in tokenizer.special)


def _require_first(tokenizer: TextTokenizer, card: ModelCard) -> int:
    if tokenizer.first is None:
        raise InvalidRequest(
            f'"always": {card.id} has no beginning-of-text token; use "model" or "never"',
            pointer="/tokens/bos",
        )
    return tokenizer.first


def _filling(tokenizer: TextTokenizer, size: int) -> int:
    # Some tokenizers have a padding token that the model has no embedding for.
    candidates = (tokenizer.parts.get("pad"), tokenizer.parts.get("eos"))
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
