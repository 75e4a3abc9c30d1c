"""Are the sentences about neurons true to a reader who knows nothing of how they are made?

Writes sheets: neurons of finished jobs drawn at random, each with its sentence, its strongest
contexts and the contexts of each of its senses, without status, method or score. Some have the
sentence of another neuron, which a reader who reads should call wrong. Readers, people or language
models, answer by `PROMPT`; --score compares their answers with the key.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import table
from polyseme import Polyseme
from polyseme.contract.files.column import CLAIMING
from polyseme.reports import Context, Report

STRONGEST, OF_A_SENSE, OF_NONE = 8, 6, 4  # contexts on a sheet
ON_A_PAGE = 25  # sheets of a file
SWAPPED = 0.1  # of the sentences: another neuron's
VERDICTS = ("right", "partly", "wrong")
QUANTILE = 1.96

PROMPT = """\
You will read sheets about neurons of a language model. Each sheet has a sentence that says what
makes one neuron fire in a text, and then contexts: pieces of that text at which it fired. The word
at which it fired, or a piece of it, stands in **double asterisks**. First come the strongest
contexts, then those that belong together in the opinion of whoever wrote the sentence (the order of
these groups is that of the sentence), then some that belong to no group, and the words of further
contexts.

Judge the sentence by the contexts alone:

- right: what it says holds for most of the contexts that it is about, its parts are different
  things where it says so, and nothing that is plain in the strongest contexts is missing.
- partly: a part of it holds, or it is so narrow or so wide that half of the point is missed.
- wrong: what it says does not hold for the contexts.

A sentence that says that it knows nothing, or little, is right when you find no common meaning in
the contexts either, and wrong when there is a plain one that it misses.

Then say whether, after sentence and contexts, you know what makes this neuron fire: yes or no.

Answer with one line of JSON a sheet and nothing else:
{"id": "0001", "verdict": "right", "learnt": true, "why": "at most ten words"}
"""


@dataclass(frozen=True)
class Sheet:
    """One neuron as a reader sees it, and what the key says of it."""

    id: str
    job: str
    layer: int
    neuron: int
    status: str
    swapped: bool
    sentence: str

    @property
    def kind(self) -> str:
        if self.swapped:
            return "another neuron's sentence"
        return "claims" if self.status in CLAIMING else "others"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of sheets, key and answers")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the service")
    parser.add_argument("--jobs", nargs="+", help="finished ones")
    parser.add_argument("--claims", type=int, default=70, help="neurons of a job that are called")
    parser.add_argument("--others", type=int, default=20, help="neurons of a job that are not")
    parser.add_argument(
        "--any", type=int, default=0, help="neurons of a job, whatever is said of them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", action="store_true", help="the answers-*.jsonl in --out")


def run(options: argparse.Namespace) -> str:
    if options.score:
        return report(read_key(options.out), read_answers(options.out))
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    with Polyseme(options.url) as client:
        found = [report for job in options.jobs for report in draw(client, job, options, rng)]
    sheets = write_sheets(options.out, found, rng)
    return f"## Sheets for readers\n\n{len(sheets)} in {options.out}"


def draw(
    client: Polyseme, job: str, options: argparse.Namespace, rng: np.random.Generator
) -> Iterator[Report]:
    """Neurons that have a sentence of senses, drawn by kind, then any."""
    rows = list(client.neurons(job, fields="layer,neuron,status", limit=500))
    claims = [row for row in rows if row.status in CLAIMING]
    others = [row for row in rows if row.status == "described"]
    wanted = (options.claims, claims), (options.others, others), (options.any, rows)
    for count, kept in wanted:
        for i in rng.permutation(len(kept))[:count]:
            yield client.neuron(job, kept[i].layer, kept[i].neuron)


def write_sheets(folder: Path, found: Sequence[Report], rng: np.random.Generator) -> list[Sheet]:
    """The sheets in files of ON_A_PAGE, the prompt, and the key."""
    order = [found[i] for i in rng.permutation(len(found))]
    sheets, texts = [], []
    for i, report in enumerate(order):
        swapped = bool(rng.random() < SWAPPED)
        # Far away, so that nobody meets the same sentence twice in a row.
        told = order[(i + len(order) // 2) % len(order)] if swapped else report
        sheet = Sheet(
            f"{i:04}", report.job, report.layer, report.neuron, report.status, swapped, told.meaning
        )
        sheets.append(sheet)
        texts.append(format_sheet(sheet, report))
    for page, first in enumerate(range(0, len(texts), ON_A_PAGE)):
        content = "\n\n".join(texts[first : first + ON_A_PAGE])
        (folder / f"sheets-{page:02}.md").write_text(content + "\n", encoding="utf-8")
    (folder / "prompt.md").write_text(PROMPT, encoding="utf-8")
    key = json.dumps([asdict(s) for s in sheets], ensure_ascii=False, indent=1)
    (folder / "key.json").write_text(key, encoding="utf-8")
    return sheets


def format_sheet(sheet: Sheet, report: Report) -> str:
    strongest = sorted(_positive(report.contexts), key=lambda c: -c.activation)
    parts = [f"## {sheet.id}", f"**Sentence:** {sheet.sentence}", "Strongest contexts:"]
    parts.append(_lines(strongest[:STRONGEST]))
    for sense in _positive(report.senses):
        own = [c for c in strongest if c.sense == sense.sense]
        parts += [f"Group {sense.sense + 1}:", _lines(own[:OF_A_SENSE])]
        parts.append(f"further words: {_further(report, sense.sense)}")
    none = [c for c in strongest if c.sense is None]
    parts += ["In no group:", _lines(none[:OF_NONE]), f"further words: {_further(report, None)}"]
    return "\n\n".join(parts)


def _positive(items: Iterable[Any]) -> list[Any]:
    return [item for item in items if item.tail == "positive"]


def _lines(contexts: Sequence[Context]) -> str:
    return "\n".join(f"- {_mark(c)}" for c in contexts) or "- (none)"


def _mark(context: Context) -> str:
    """The text with the peak between asterisks, on one line."""
    marked = (f"**{p.text}**" if p.is_peak else p.text for p in context.pieces())
    return "".join(marked).replace("\n", "⏎")


def _further(report: Report, sense: int | None) -> str:
    own = [e for e in _positive(report.evidence) if e.sense == sense]
    return " | ".join((e.text or e.token).replace("\n", "⏎") for e in own) or "(none)"


def read_key(folder: Path) -> dict[str, Sheet]:
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    return {row["id"]: Sheet(**row) for row in key}


def read_answers(folder: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """By reader and sheet. A reader's answers may be in several files: answers-NAME-….jsonl."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in sorted(folder.glob("answers-*.jsonl")):
        reader = found.setdefault(path.stem.split("-")[1], {})
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                answer = json.loads(line)
                if answer["verdict"] not in VERDICTS:
                    raise ValueError(f"{path}: {line}")
                reader[answer["id"]] = answer
    return found


def report(key: Mapping[str, Sheet], answers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    rows = []
    kinds = {kind: {kind} for kind in (sheet.kind for sheet in key.values())}
    kinds["own sentences"] = {sheet.kind for sheet in key.values() if not sheet.swapped}
    for name, kept in kinds.items():
        of = {
            reader: [a for i, a in given.items() if key[i].kind in kept]
            for reader, given in answers.items()
        }
        of["all"] = [a for told in of.values() for a in told]
        rows += [[name, reader, *_figures(told)] for reader, told in of.items()]
    header = ["", "reader", "sheets", *VERDICTS, "learnt"]
    return f"## Readers\n\n{table(header, rows)}\n\n{_agreement(answers)}"


def _figures(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    shares = [_share(sum(a["verdict"] == v for a in answers), len(answers)) for v in VERDICTS]
    return [
        str(len(answers)),
        *shares,
        _share(sum(bool(a["learnt"]) for a in answers), len(answers)),
    ]


def _share(count: int, of: int) -> str:
    """With the ends of its 95 % interval. Source: Wilson 1927."""
    if not of:
        return "-"
    share, spread = count / of, QUANTILE**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return f"{share:.2f} ({middle - half:.2f} to {middle + half:.2f})"


def _agreement(answers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The share of sheets with the same verdict, over all pairs of readers."""
    readers = list(answers.values())
    same = [
        a[i]["verdict"] == b[i]["verdict"]
        for n, a in enumerate(readers)
        for b in readers[:n]
        for i in a.keys() & b.keys()
    ]
    return f"Two readers agree on {_share(sum(same), len(same))} of {len(same)} sheets."
