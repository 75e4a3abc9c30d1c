"""Whether the sentences of a result quote words that stand in its documents, whole and so written.

And how many of them say what. Knows the files of a result, not how sentences come about.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.markdown import table
from polyseme.contract.files.results import NEURONS
from polyseme.workers.analysis.run import read_texts

_QUOTED = re.compile(r"“(.+?)”(?!”)")
_LETTER = r"[^\W_]"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, help="the folder of a result")
    parser.add_argument("texts", type=Path, help="the file with the documents it was made from")


def run(options: argparse.Namespace) -> str:
    found = pq.read_table(options.result / NEURONS, columns=["status", "meaning"])
    sentences = found["meaning"].to_pylist()
    wrong = find_misquoted(sentences, list(read_texts(options.texts)))
    statuses = Counter(found["status"].to_pylist())
    rows = [[status, f"{count:,}"] for status, count in statuses.most_common()]
    quoted = sum(len(list(quoted_in(s))) for s in sentences)
    lines = [
        f"{len(sentences):,} sentences quote {quoted:,} words; {len(wrong):,} quotations stand in "
        "no document as a word.",
        *(f"- “{word}” in: {sentence}" for sentence, word in wrong[:20]),
        table(["status", "neurons"], rows),
    ]
    return "\n\n".join(lines)


def quoted_in(sentence: str) -> Iterator[str]:
    for found in _QUOTED.finditer(sentence):
        yield found[1]


def find_misquoted(sentences: Iterable[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Sentences with each word that they quote and that no text has as a whole word."""
    text = "\n\n".join(texts)
    known: dict[str, bool] = {}
    wrong = []
    for sentence in sentences:
        for word in quoted_in(sentence):
            if word not in known:
                known[word] = stands_in(word, text)
            if not known[word]:
                wrong.append((sentence, word))
    return wrong


def stands_in(quoted: str, text: str) -> bool:
    """As a whole word in this case; where it begins or ends with a hyphen, as a part of one."""
    if len(quoted) > 1 and quoted.startswith("-") and quoted[1:].isalpha():
        return bool(re.search(f"{_LETTER}{re.escape(quoted[1:])}(?!{_LETTER})", text, re.I))
    if len(quoted) > 1 and quoted.endswith("-") and quoted[:-1].isalpha():
        return bool(re.search(f"(?<!{_LETTER}){re.escape(quoted[:-1])}{_LETTER}", text, re.I))
    if not any(map(str.isalnum, quoted)) or not _is_spaced(quoted):
        return quoted in text
    whole = rf"(?<!{_LETTER})(?<!{_LETTER}['’]){re.escape(quoted)}(?!['’]?{_LETTER})"
    return bool(re.search(whole, text))


def _is_spaced(word: str) -> bool:
    """Of a script that writes words apart: a word of any other cannot be told from its pieces."""
    return all(ord(c) < 0x0E00 for c in word)
