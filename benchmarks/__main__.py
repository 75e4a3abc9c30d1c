"""`python -m benchmarks [NAME] [options]`: prints Markdown. No name: speed, memory and api.

NAME: speed, memory, api, load, door, merge, scale, growth, shapes, precision, gallery, neuronpedia,
page, pages, peers, senses, pairs, halves, controls, planted, train, readers, sentences, lists,
unchanged, versus, way_in, agreement, sites, dictionary,
sparse or about.
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks import (
    about,
    agreement,
    api,
    dictionary,
    door,
    gallery,
    growth,
    lists,
    load,
    memory,
    merge,
    neuronpedia,
    page,
    pages,
    precision,
    scale,
    sentences,
    shapes,
    sites,
    sparse,
    speed,
    unchanged,
    versus,
    way_in,
)
from benchmarks.machine import describe_machine
from benchmarks.peers import benchmark as peers
from benchmarks.senses import benchmark as senses
from benchmarks.senses import controls, halves, pairs, planted, readers, training

_BENCHMARKS = {
    "speed": speed,
    "memory": memory,
    "api": api,
    "load": load,
    "door": door,
    "merge": merge,
    "scale": scale,
    "growth": growth,
    "unchanged": unchanged,
    "versus": versus,
    "way_in": way_in,
    "lists": lists,
    "agreement": agreement,
    "sites": sites,
    "dictionary": dictionary,
    "sparse": sparse,
    "shapes": shapes,
    "precision": precision,
    "gallery": gallery,
    "about": about,
    "neuronpedia": neuronpedia,
    "page": page,
    "pages": pages,
    "senses": senses,
    "pairs": pairs,
    "halves": halves,
    "controls": controls,
    "planted": planted,
    "train": training,
    "readers": readers,
    "sentences": sentences,
    "peers": peers,
}
_ALWAYS = ("speed", "memory", "api")


def main(arguments: list[str] | None = None) -> None:
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # as Ctrl-C does: what a benchmark has started is ended
    parser = _make_parser()
    options = parser.parse_args(arguments)
    chosen = [options] if options.benchmark else [parser.parse_args([name]) for name in _ALWAYS]
    print(describe_machine(), end="\n\n", flush=True)
    for each in chosen:
        print(f"{each.benchmark} …", file=sys.stderr, flush=True)
        print(_BENCHMARKS[each.benchmark].run(each), end="\n\n", flush=True)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    named = parser.add_subparsers(dest="benchmark", metavar="|".join(_BENCHMARKS))
    for name, module in _BENCHMARKS.items():
        text = module.__doc__ or ""
        module.add_options(named.add_parser(name, description=text, help=text.partition("\n")[0]))
    return parser


if __name__ == "__main__":
    main()
