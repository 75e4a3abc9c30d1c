"""The example that the dashboard's About page shows before any job has run: one neuron of a
finished job, and sentences written for the page, read by the model.

The sentences are our own, since the sample's documents are not ours to ship. They were written by
one who knew the neuron's senses, so they show what a sense is and prove nothing; two on which it
might fire and does not are among them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from polyseme import Polyseme
from polyseme.reading import Raw

# What the page shows together, and the sentences of each.
SENTENCES = {
    "senses": (
        "On Saturday the children played football in the park until it was dark.",
        "Nobody in the office plays golf any more.",
        "After the tennis match we walked home.",
        "My grandmother speaks Italian at home and writes her letters in German.",
        "On the radio someone was reading a poem in German.",
    ),
    "both": (
        "The golf club asked for someone who speaks Swedish.",
        "She studies Spanish, and in the evening she goes to basketball.",
    ),
    "silent": (
        "The trains were late again this morning, so we walked.",
        "She has spoken Norwegian since she was three.",
    ),
}
TARGET = Path("service/dashboard/src/example.json")

_TOKEN = ("token", "char_span")
_PEAK = ("token", "activation", "sense", "same")
_CROSSING = ("senses", "tokens", "same")
_SENSE = ("sense", "share", "sure", "replication", "name", "size")
_SCORES = ("score", "score_percentile", "coverage", "selectivity", "selectivity_percentile")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running service")
    parser.add_argument("--job", required=True, help="a finished job with senses")
    parser.add_argument("--layer", type=int, default=8)
    parser.add_argument("--neuron", type=int, default=1254)
    parser.add_argument("--to", type=Path, default=TARGET, help="the file that the page is made of")


def run(options: argparse.Namespace) -> str:
    with Polyseme(options.url) as client:
        report = client.neuron(options.job, options.layer, options.neuron).raw
        example = _tell_neuron(report) | {
            "texts": {
                group: [_check(client, options, text) for text in texts]
                for group, texts in SENTENCES.items()
            }
        }
    options.to.write_text(
        json.dumps(example, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    return f"{report['meaning']}\n\n{_report(example)}"


def _tell_neuron(report: Raw) -> dict[str, Any]:
    positive = [s for s in report["senses"] if s["tail"] == "positive"]
    return {
        **{name: report[name] for name in ("model", "layer", "neuron", "status", "meaning")},
        "tokens": report["stats"]["n_tokens"],
        "most": max(c["activation"] for c in report["contexts"]),
        "polysemanticity": {name: report["polysemanticity"][name] for name in _SCORES},
        "senses": [{name: s[name] for name in _SENSE} for s in positive],
    }


def _check(client: Polyseme, options: argparse.Namespace, text: str) -> dict[str, Any]:
    found = client.activations(options.job, text, [(options.layer, options.neuron)]).raw
    [own] = found["neurons"]
    return {
        "text": found["text"],
        "tokens": [{name: t[name] for name in _TOKEN} for t in found["tokens"]],
        "activations": [round(a, 3) for a in own["activations"]],
        "peaks": [{name: p[name] for name in _PEAK} for p in own["peaks"]],
        "cross_activations": [
            {name: c[name] for name in _CROSSING} for c in own["cross_activations"]
        ],
    }


def _report(example: dict[str, Any]) -> str:
    rows = [
        [
            group,
            text["text"],
            ", ".join(
                f"{text['tokens'][p['token']]['token'].strip()} {p['activation']:.2f} "
                f"(sense {p['sense']}, {p['same']:.0%})"
                for p in text["peaks"]
            ),
        ]
        for group, texts in example["texts"].items()
        for text in texts
    ]
    return table(["shown as", "sentence", "fires on"], rows)
