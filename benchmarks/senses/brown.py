"""The Brown corpus as plain documents whose words know their part-of-speech tags.

Knows the corpus' own files (one a document, `word/tag` between blanks, a sentence a line), not
tokens or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTS = 500
_NAME = re.compile(r"c[a-r]\d\d")
_SUFFIXES = (
    "-hl",
    "-tl",
    "-nc",
)  # headline, title, cited word: where a word stands, not what it is
_NO_BLANK_BEFORE = frozenset([",", ".", ";", ":", "?", "!", ")", "]", "''", "'"])
_NO_BLANK_AFTER = frozenset(["``", "(", "[", "`"])
_WRITTEN = {"``": '"', "''": '"', "`": "'", "--": "--"}


@dataclass(frozen=True)
class Word:
    form: str  # lower case
    tag: str  # without what says that it stands in a headline, a title or is cited
    start: int  # characters into the text of its document
    end: int
    opens: bool  # first word of its sentence


@dataclass(frozen=True)
class Document:
    name: str  # such as ca01
    genre: str  # such as news
    text: str
    words: tuple[Word, ...]  # punctuation included


def read_documents(folder: Path) -> Iterator[Document]:
    """The documents by name. Raises FileNotFoundError when the folder holds no Brown corpus."""
    genres = dict(
        line.split() for line in (folder / "cats.txt").read_text().splitlines() if line.strip()
    )
    for path in sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name)):
        yield read_document(path.name, genres[path.name], path.read_text(encoding="latin-1"))


def read_document(name: str, genre: str, tagged: str) -> Document:
    """One document from its tagged text; sentences are joined by blanks, paragraphs by line
    breaks.
    """
    text, words, gap = "", [], ""
    for paragraph in re.split(r"\n\s*\n", tagged):
        for sentence in filter(None, map(str.strip, paragraph.splitlines())):
            opens = True
            for written, tag in map(_split_tagged, sentence.split()):
                if written in _NO_BLANK_BEFORE:
                    gap = ""
                shown = _WRITTEN.get(written, written)
                start = len(text) + len(gap)
                text += gap + shown
                is_word = any(c.isalnum() for c in written)
                words.append(Word(shown.lower(), tag, start, len(text), opens and is_word))
                opens = opens and not is_word
                gap = "" if written in _NO_BLANK_AFTER else " "
            gap = " "
        gap = "\n" if text else ""
    return Document(name, genre, text, tuple(words))


def _split_tagged(token: str) -> tuple[str, str]:
    written, _, tag = token.rpartition("/")
    tag = tag.lower()
    if tag.startswith("fw-"):
        tag = "fw"
    while tag.endswith(_SUFFIXES):
        tag = tag[:-3]
    return written, tag
