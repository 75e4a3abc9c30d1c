"""`python -m polyseme.workers.analysis request.json -o DIR`: the service's analysis on a bare
machine.

The request is a job's, but that `model` is {"hub": "org/name", "revision": "…"}, {"path": "…"} or
{"gguf": "…"}, and `corpus` is {"texts": ["…"]} or {"path": "documents.jsonl"}: plain text, a
document a line, JSON, CSV, TSV or Parquet, by what is in the file, packed or not. "field" names the
one that has the text, "language_field" the one that names a document's language, and
"on_bad_line": "skip" skips what is no document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyseme.contract.errors import InvalidRequest, PolysemeError
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.load import load_model
from polyseme.workers.analysis.run import WHOLE, read_texts, run_analysis


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        data = json.loads(options.request.read_text(encoding="utf-8"))
        entry, texts = _read_model(data), _read_corpus(data)
        request = AnalysisRequest.from_dict(data | {"model": entry.id, "corpus": {"id": "corpus"}})
        model = load_model(
            entry,
            device=options.device,
            dtype=options.dtype,
            cache=options.cache,
            compiled=options.compile,
        )
        run_analysis(
            model,
            request,
            texts,
            options.output,
            limits=_limits(options),
            on_progress=_print_progress,
        )
    except (PolysemeError, OSError, json.JSONDecodeError, TypeError, KeyError) as e:
        print(f"\n{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    print(f"\nresult in {options.output}", file=sys.stderr)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m polyseme.workers.analysis", description=__doc__
    )
    parser.add_argument("request", type=Path, help="a JSON file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder for the result")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument(
        "--block-tokens", type=int, default=0, help="tokens run at once; 0: by the device"
    )
    parser.add_argument(
        "--shard-tokens", type=int, default=0, help="tokens between writes; 0: by the device"
    )
    parser.add_argument(
        "--compile", action="store_true", help="the model's layers with torch.compile"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("polyseme-data/cache"), help="for converted models"
    )
    return parser.parse_args(arguments)


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(options.block_tokens, options.shard_tokens)


def _read_model(data: dict[str, Any]) -> Entry:
    given = data["model"]
    kinds = [k for k in ("hub", "path", "gguf") if isinstance(given, dict) and k in given]
    if len(kinds) != 1:
        raise InvalidRequest(
            '"model" must be {"hub": …, "revision": …}, {"path": …} or {"gguf": …}',
            pointer="/model",
        )
    location = (
        given[kinds[0]] if kinds[0] == "hub" else str(Path(given[kinds[0]]).expanduser().resolve())
    )
    name = given.get("id", Path(location).name.lower())
    return Entry(name, kinds[0], location, given.get("revision"))  # type: ignore[arg-type]


def _read_corpus(data: dict[str, Any]) -> Iterable[str]:
    given = data["corpus"]
    if "texts" in given:
        return list(given["texts"])
    skips = given.get("on_bad_line") == "skip"
    reading = replace(
        WHOLE,
        field=given.get("field"),
        language_field=given.get("language_field"),
        skips_bad_lines=skips,
    )
    return read_texts(Path(given["path"]), reading)


def _print_progress(phase: str, done: int, total: int) -> None:
    print(
        f"\r{phase}: {done:,} of {total:,} {'layers' if phase == 'merging' else 'tokens'}   ",
        end="",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
