"""What each token of a vocabulary reads as, by the kind of its tokenizer.

A piece is read itself: decoders are made for whole texts, and drop the spaces that one begins with.
A byte that is no whole character reads as "<0xE6>", as SentencePiece names it. Knows no texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

_SPACE: Final = "▁"  # SentencePiece's
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")
_ESCAPED: Final = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte

Reader = Callable[[str], str]


def read_vocabulary(backend: Any, size: int) -> list[str]:
    """The text of each token id below `size`, with the spaces it begins with; "<unused 7>" for an
    id without a token.

    backend: a `tokenizers.Tokenizer`. WordPiece's "##" stays: it tells "##s" from "s".
    """
    read, read_added = _choose_readers(json.loads(backend.to_str()))
    added = {i: token.content for i, token in backend.get_added_tokens_decoder().items()}
    pieces = [backend.id_to_token(i) for i in range(size)]
    return [
        f"<unused {i}>" if piece is None else read_added(added[i]) if i in added else read(piece)
        for i, piece in enumerate(pieces)
    ]


def find_dummies(backend: Any) -> list[int]:
    """The ids that a tokenizer may put before a text as a space that is not in it."""
    found = (backend.token_to_id(piece) for piece in (_SPACE, _BYTE_PIECES[ord(" ")]))
    return [i for i in found if i is not None]


def _choose_readers(definition: dict[str, Any]) -> tuple[Reader, Reader]:
    """Of the model's own pieces, and of tokens that were added to them. definition: the contents of
    a tokenizer.json.
    """
    parts = list(_walk([definition[name] for name in ("normalizer", "pre_tokenizer", "decoder")]))
    if any(part["type"] == "ByteLevel" for part in parts):
        return _read_byte_level, str
    if any(map(_writes_spaces, parts)):
        return _read_sentence_piece, _read_added
    suffix = definition["model"].get("end_of_word_suffix") or ""
    return lambda piece: piece.removesuffix(suffix), str


def _walk(part: Any) -> Iterator[dict[str, Any]]:
    """All components inside one, itself among them."""
    if isinstance(part, list):
        for inner in part:
            yield from _walk(inner)
    elif isinstance(part, dict) and "type" in part:
        yield part
        for name in ("normalizers", "pretokenizers", "decoders"):
            yield from _walk(part.get(name))


def _writes_spaces(part: dict[str, Any]) -> bool:
    """Whether a component writes spaces as SentencePiece does, or reads them."""
    written = part.get("replacement"), part.get("content"), part.get("pattern")
    return any(w == _SPACE or w == {"String": _SPACE} for w in written)


def _read_sentence_piece(piece: str) -> str:
    if named := _BYTE.fullmatch(piece):
        return _read_bytes(bytes([int(named[1], 16)]))
    return piece.replace(_SPACE, " ")


def _read_added(content: str) -> str:
    """As it was added; but some vocabularies have their bytes and runs of spaces among those."""
    is_piece = set(content) == {_SPACE} or _BYTE.fullmatch(content)
    return _read_sentence_piece(content) if is_piece else content


def _read_byte_level(piece: str) -> str:
    if not _BYTES_OF.keys() >= set(piece):
        return piece
    return _read_bytes(bytes(_BYTES_OF[character] for character in piece))


def _read_bytes(raw: bytes) -> str:
    text = raw.decode(errors="surrogateescape")
    return _ESCAPED.sub(lambda byte: f"<0x{ord(byte[0]) - 0xDC00:02X}>", text)


def _byte_pieces() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where it can be
    printed, else one of those from U+0100 on.
    """
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printed else next(others)) for byte in range(0x100)]


_BYTE_PIECES: Final = _byte_pieces()
_BYTES_OF: Final = {piece: byte for byte, piece in enumerate(_BYTE_PIECES)}
