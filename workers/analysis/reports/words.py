"""What a reader is told of a layer's neurons as columns: their sentences, and their senses'
languages.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from polyseme.contract.files.column import negative
from polyseme.contract.files.results import LANGUAGE
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.sentences.wording import TailWords

_NAMES: Mapping[Tail, str] = {"positive": "meaning", "negative": negative("meaning")}


def meaning_columns(words: Mapping[Tail, TailWords], neurons: int) -> dict[str, pa.Array]:
    """Null for a tail of which nothing was said."""
    return {
        name: pa.array(words[tail].meaning, pa.string()) if tail in words else pa.nulls(neurons)
        for tail, name in _NAMES.items()
    }


def list_languages(words: TailWords) -> pa.ListArray:
    """Of every sense."""
    entries = [
        [{"language": name, "share": share} for name, share in found] for found in words.languages
    ]
    return pa.array(entries, pa.list_(LANGUAGE))
