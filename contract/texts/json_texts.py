"""Documents in JSON: a line each, or the elements of an array that is read as it comes."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from polyseme.contract.errors import InvalidCorpus, MalformedRequest
from polyseme.contract.strict_json import parse_json
from polyseme.contract.texts.formats import LONGEST_DOCUMENT, BadLine, Reading
from polyseme.contract.texts.languages import add_language
from polyseme.contract.texts.lines import too_long

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NEAR: Final = (
    16  # characters from the end of what came in which an error may only mean that it is cut
)
_VALUES: Final = json.JSONDecoder()
_MOST_NAMED = 20
_LONGEST_NAME = 80


def read_json_lines(lines: Iterable[bytes], reading: Reading) -> Iterator[str | BadLine]:
    """Objects with the field that has the text, or strings; blank lines are none."""
    for i, line in enumerate(lines):
        if line.strip():
            yield _read_document(line, i, f"line {i + 1}", reading)


def read_json_array(chunks: Iterable[bytes], reading: Reading) -> Iterator[str | BadLine]:
    """Elements as lines are. Raises InvalidCorpus where the array itself is broken, TooLarge for an
    element longer than a document may be.
    """
    text = _Text(chunks)
    text.skip("[", "a JSON array")
    if text.next_character() == "]":
        text.at += 1
    else:
        index = 0
        while True:
            yield _read_document(
                text.take_value(index).encode(), index, f"element {index + 1}", reading
            )
            index += 1
            if text.next_character() != ",":
                break
            text.at += 1
        text.skip("]", f"`,` or `]` behind element {index}")
    if text.next_character():
        raise InvalidCorpus("something stands behind the end of the JSON array", pointer="")


class _Text:
    """What came of a stream, read on as it is asked for; what is done with is dropped."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""
        self._is_whole = False
        self.at = 0  # the next character

    def next_character(self) -> str:
        """The next one that is no white space, which is not taken; "" at the end."""
        while True:
            if (space := _SPACE.match(self._held, self.at)) is not None:
                self.at = space.end()
            if self.at < len(self._held) or self._is_whole:
                return self._held[self.at : self.at + 1]
            self._read_on(1)

    def skip(self, character: str, what: str) -> None:
        """Raises InvalidCorpus when another one is next."""
        if (found := self.next_character()) != character:
            raise InvalidCorpus(
                f"the JSON is broken: expected {what}, found {found or 'the end'}", pointer=""
            )
        self.at += 1

    def take_value(self, index: int) -> str:
        """The JSON text of the next value; index: of the element, for what is said of it."""
        self.next_character()
        while (end := self._find_end(index)) is None:
            if len(self._held) - self.at > LONGEST_DOCUMENT:
                raise too_long()
            self._read_on(len(self._held) - self.at)
        value = self._held[self.at : end]
        self.at = end
        return value

    def _find_end(self, index: int) -> int | None:
        """Of the value that is next; None while it may be cut. Raises InvalidCorpus for no JSON."""
        try:
            end: int = _VALUES.raw_decode(self._held, self.at)[1]
        except json.JSONDecodeError as e:
            is_cut = e.msg.startswith("Unterminated") or e.pos > len(self._held) - _NEAR
            if self._is_whole or not is_cut:
                raise _broken(index, e.msg) from e
            return None
        except (ValueError, RecursionError) as e:  # a number of thousands of digits, or too deep
            raise _broken(index, str(e)) from e
        return end if end < len(self._held) or self._is_whole else None

    def _read_on(self, size: int) -> None:
        """At least so many characters more, unless there are no more."""
        pieces, came = [self._held[self.at :]], 0
        while came < max(size, 1) and not self._is_whole:
            chunk = next(self._chunks, b"")
            self._is_whole = not chunk
            pieces.append(self._decode(chunk))
            came += len(pieces[-1])
        self._held, self.at = "".join(pieces), 0

    def _decode(self, chunk: bytes) -> str:
        try:
            return self._decoder.decode(chunk, final=self._is_whole)
        except UnicodeDecodeError as e:
            raise InvalidCorpus("the JSON array is no UTF-8", pointer="") from e


def _broken(index: int, why: str) -> InvalidCorpus:
    return InvalidCorpus(f"element {index + 1} is broken JSON: {why}", pointer=f"/{index}")


def _read_document(text: bytes, index: int, where: str, reading: Reading) -> str | BadLine:
    field = reading.text_field
    try:
        value = parse_json(text)
    except MalformedRequest as e:
        return BadLine(index, f"{where}: {e.message.replace('the body', 'it')}")
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return BadLine(
            index, f'{where} is {name_type(value)}: expected {{"{field}": "…"}} or a string'
        )
    if field not in value:
        return BadLine(index, f"{where} has no field {field!r}; {name_fields(value)}")
    found = value[field]
    if not isinstance(found, str):
        return BadLine(
            index,
            f"{where}: the field {field!r} is {name_type(found)}, not a string; "
            f"{name_fields(value)}",
        )
    if reading.language_field is None:
        return found
    language = value.get(reading.language_field)
    return add_language(found, language, index, where, reading.language_field)


def name_fields(names: Iterable[str]) -> str:
    """The fields that were seen, as a part of a sentence."""
    shown = [name[:_LONGEST_NAME] for name in names]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return f"its fields are {', '.join(shown[:_MOST_NAMED])}{more}" if shown else "it has no fields"


def name_type(value: Any) -> str:
    """Of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"
