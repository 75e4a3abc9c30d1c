"""The language that a document's file says it is in, carried along with its text."""

from __future__ import annotations

from typing import Any, Final

from polyseme.contract.texts.formats import BadLine

LONGEST_LANGUAGE: Final = 64  # characters


class TextInLanguage(str):
    """A document's text; `language` is the name that its file gives, such as "de" or "German".

    A text that is not one of these is in no known language.
    """

    __slots__ = ("language",)
    language: str

    def __new__(cls, text: str, language: str) -> TextInLanguage:
        made = super().__new__(cls, text)
        made.language = language
        return made


def language_of(text: str) -> str | None:
    return text.language if isinstance(text, TextInLanguage) else None


def add_language(text: str, value: Any, index: int, where: str, field: str) -> str | BadLine:
    """The text with its language, which null and blank are not. value: of the field that names it;
    index, where: of the line, element or row, for what is said of one that names none.
    """
    if value is None:
        return text
    if not isinstance(value, str):
        return BadLine(index, f"{where}: the language field {field!r} is no string")
    language = " ".join(value.split())
    if len(language) > LONGEST_LANGUAGE:
        return BadLine(
            index,
            f"{where}: the language field {field!r} has {len(language)} characters: a language has "
            f"at most {LONGEST_LANGUAGE}",
        )
    return TextInLanguage(text, language) if language else text
