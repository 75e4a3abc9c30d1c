"""`python -m polyseme.workers.analysis.dictionary_commands`: what `polyseme dictionaries` has done
in a process of its own, as the command itself runs without torch.

A JSON object on standard input, one on standard output. What is wrong is a sentence on standard
error, and the exit code is 1.

{"do": "check", "dictionary": {…}, "model": {…} or null, "texts": "file" or null, "cache": "folder"}
with the fields of catalogue entries, or {"do": "convert", "file": "…", "target": "…",
"hints": {…}} with those of `Hints`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyseme.contract.errors import PolysemeError
from polyseme.contract.records.catalogue import DictionaryEntry, Entry
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.dictionaries.formats import make_card, read_dictionary
from polyseme.workers.analysis.dictionaries.pickled_layouts import Hints
from polyseme.workers.analysis.dictionaries.pickles import convert_pickle


def main() -> int:
    asked: dict[str, Any] = json.load(sys.stdin)
    try:
        done = _check(asked) if asked["do"] == "check" else _convert(asked)
    except PolysemeError as e:
        sys.stderr.write(f"{e.message}\n")
        return 1
    except OSError as e:
        sys.stderr.write(f"{e.filename or 'a file'}: {e.strerror or e}\n")
        return 1
    json.dump(done, sys.stdout, allow_nan=False)
    return 0


def _check(asked: Mapping[str, Any]) -> dict[str, Any]:
    entry = DictionaryEntry(**asked["dictionary"])
    read = read_dictionary(entry)
    return {
        "card": asdict(make_card(entry, read)),
        "target": None if read.target is None else read.target.hook,
        "notes": asdict(read.notes),
        "fit": _measure(asked, read) if asked["texts"] else None,
    }


def _measure(asked: Mapping[str, Any], read: Dictionary) -> dict[str, Any]:
    # These take seconds to import, and nothing else here needs them.
    from polyseme.workers.analysis.dictionary_fit import measure_on_model
    from polyseme.workers.analysis.models.load import load_model
    from polyseme.workers.analysis.run import read_texts

    model = load_model(
        Entry(**asked["model"]), device="auto", dtype="float32", cache=Path(asked["cache"])
    )
    return asdict(measure_on_model(model, read, read_texts(Path(asked["texts"]))))


def _convert(asked: Mapping[str, Any]) -> dict[str, Any]:
    hints = Hints(**asked["hints"])
    return asdict(convert_pickle(Path(asked["file"]), Path(asked["target"]), hints))


if __name__ == "__main__":
    sys.exit(main())
