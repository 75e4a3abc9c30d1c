"""Ten neurons of a finished job as a page: found by sorting, shown as the service returned them.

One that an earlier list has shown is passed over.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from polyseme import Polyseme
from polyseme.commands.show import visible
from polyseme.reading import Raw
from polyseme.reports import Report

# What is shown, in words and as the list's query, and how many neurons of each.
LISTS: tuple[tuple[str, int, dict[str, str | float]], ...] = (
    (
        "Polysemantic, most selective",
        2,
        {"status": "polysemantic", "min_coverage": 0.8, "sort": "-selectivity"},
    ),
    ("Polysemantic, strongest activation", 2, {"status": "polysemantic", "sort": "-max"}),
    ("Polysemantic, most covered", 1, {"status": "polysemantic", "sort": "-coverage"}),
    ("Monosemantic, most covered", 2, {"status": "monosemantic", "sort": "-coverage"}),
    (
        "Monosemantic, most different peak tokens",
        1,
        {"status": "monosemantic", "sort": "-peak_token_count"},
    ),
    ("Described, least selective", 1, {"status": "described", "sort": "selectivity,-max"}),
    ("Described, strongest activation", 1, {"status": "described", "sort": "-max"}),
)

_CONTEXTS = 3  # of each sense
_LOOKED_AT = 20  # rows of a list
_BEFORE, _AFTER = 9, 5  # tokens around a peak


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running service")
    parser.add_argument("--job", required=True, help="a finished job with senses")


def run(options: argparse.Namespace) -> str:
    with Polyseme(options.url) as client:
        return "\n\n".join(_sections(client, options.job))


def _sections(client: Polyseme, job: str) -> Iterator[str]:
    seen: set[tuple[int | None, int | None]] = set()
    for title, count, query in LISTS:
        shown = "&".join(f"{name}={value}" for name, value in query.items())
        yield f"## {title}\n\n`GET /v1/jobs/{job}/neurons?{shown}`"
        rows = client.neurons(job, fields="layer,neuron", **query)
        new = [row for row in rows.first(_LOOKED_AT) if (row.layer, row.neuron) not in seen]
        for row in new[:count]:
            assert row.layer is not None
            assert row.neuron is not None
            seen.add((row.layer, row.neuron))
            yield describe(client.neuron(job, row.layer, row.neuron))


def describe(neuron: Report) -> str:
    """One neuron as Markdown."""
    report = neuron.raw
    scores = report["polysemanticity"]
    score = (
        "none"
        if scores["score"] is None
        else f"{scores['score']:.2f} ({_interval(scores['interval'])})"
    )
    above = scores["score_percentile"]
    beside = "" if above is None else f", higher than that of {above:.0%} of control units"
    lines = [
        f"### Layer {report['layer']}, neuron {report['neuron']}",
        f"> {visible(report['meaning'])}",
        f"Status {report['status']}, score {score}{beside}; coverage {scores['coverage']:.2f}, "
        f"MS {scores['monosemanticity_score']:.2f}.",
        *(
            _describe_sense(report, raw, neuron.firing_share(sense))
            for sense, raw in zip(neuron.senses, report["senses"], strict=True)
            if sense.tail == "positive"
        ),
    ]
    if not report["senses"]:
        lines.append(_contexts(report, list(range(_CONTEXTS))))
    return "\n\n".join(lines)


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def _describe_sense(report: Raw, sense: Raw, share: float) -> str:
    """share: of all its firing."""
    tokens = ", ".join(f"`{visible(t['token']).strip() or '␣'}`" for t in sense["tokens"][:6])
    tested = (
        ""
        if sense["auprc"] is None
        else f", AUPRC {sense['auprc']:.2f} against {sense['auprc_baseline']:.2f}"
    )
    standing = "sure" if sense["sure"] else "tentative"
    head = (
        f"**{share:.0%}**, {sense['size']} contexts, {standing} "
        f"({sense['replication']:.2f}){tested}: {tokens}"
    )
    return f"{head}\n\n{_contexts(report, sense['contexts'][:_CONTEXTS])}".rstrip()


def _contexts(report: Raw, indices: list[int]) -> str:
    return "\n".join(f"- {_context(report['contexts'][i])}" for i in indices)


def _context(context: Raw) -> str:
    peak, tokens = context["peak"], [visible(t) for t in context["tokens"]]
    before, after = (
        "".join(tokens[max(peak - _BEFORE, 0) : peak]),
        "".join(tokens[peak + 1 : peak + 1 + _AFTER]),
    )
    return (
        f"{context['activation']:.2f} `{before.replace('`', '′')}` **⟦{tokens[peak]}⟧** "
        f"`{after.replace('`', '′')}`"
    )
