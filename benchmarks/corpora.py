"""Real text of a wanted length, from installed packages: the same documents in the same order on
every machine with the same packages and Python version.

Three kinds take turns (facts, chapters of the King James Bible, sections of the Python reference)
until one is used up, then the others go on. There are about a million tokens, most of them the
Bible's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle, islice, zip_longest
from pathlib import Path

from polyseme.commands import samples
from polyseme.errors import CommandError

_CHARACTERS_A_TOKEN = 5  # more than any of the kinds has, so that the texts are enough


def take_texts(tokens: int) -> list[str]:
    """Documents with at least this many tokens; `tokens.max_tokens` of a request then cuts at the
    count itself.

    Raises CommandError when the packages have fewer, or are not installed.
    """
    texts, missing = [], tokens * _CHARACTERS_A_TOKEN
    for text in _all_texts():
        if missing <= 0:
            break
        texts.append(text)
        missing -= len(text)
    if missing > 0:
        raise CommandError(f"The benchmarks have no text of {tokens:,} tokens; ask for fewer.")
    return texts


def write_texts(path: Path, tokens: int) -> None:
    """The same as JSONL, a document a line."""
    with path.open("w", encoding="utf-8") as f:
        f.writelines(
            json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in take_texts(tokens)
        )


def _all_texts() -> Iterator[str]:
    for turn in zip_longest(_facts(), samples.read_chapters(), samples.read_topics()):
        yield from (text for text in turn if text)


def _facts() -> Iterator[str]:
    """Facts, some alone and some together."""
    facts = iter(samples.read_facts())
    for size in cycle(samples.FACTS_A_DOCUMENT):
        document = "\n".join(islice(facts, size))
        if not document:
            return
        yield document
