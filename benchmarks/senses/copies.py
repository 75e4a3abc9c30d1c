"""Copies of contexts, injected before the service chooses a neuron's contexts: do they change what
it says?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.senses.judging import Verdict, find_places, judge_units
from benchmarks.senses.material import ReadCorpus
from benchmarks.senses.units import Unit
from benchmarks.senses.vectors import near_tokens
from polyseme.contract.records.request import Contexts
from polyseme.workers.analysis.contexts.choose import NEAR, TOP, Candidates, choose_contexts

COPIED = 10  # of each unit's contexts, the strongest ones, once each


def count_changed(read: ReadCorpus, units: Sequence[Unit]) -> tuple[int, int]:
    """How many of the units have another score, coverage or sense with copies than without; and how
    many units.
    """
    bare, copied = [_strongest_first(u) for u in units], []
    for unit in bare:
        order = choose(read, unit, np.concatenate([np.arange(len(unit.places)), np.arange(COPIED)]))
        copied.append(
            replace(unit, places=unit.places[order], truth=unit.truth[order], mass=unit.mass[order])
        )
    pairs = zip(*(judge_units(read, u) for u in (bare, copied)), strict=True)
    return sum(not _is_same(one, other) for one, other in pairs), len(bare)


def _is_same(one: Verdict, other: Verdict) -> bool:
    return np.array_equal(one.sense, other.sense) and all(
        value == other.scores[name] or (value != value and other.scores[name] != other.scores[name])
        for name, value in one.scores.items()
    )


def choose(read: ReadCorpus, unit: Unit, contexts: np.ndarray) -> np.ndarray:
    """Which of the unit's contexts the service keeps of these, each standing in a window of its
    own; in its order.
    """
    order = contexts[np.argsort(-unit.mass[contexts], kind="stable")]
    row, position = find_places(read, unit.places[order])
    whole = np.zeros((1, len(order)), np.int32)
    candidates = Candidates(
        band=np.full(len(order), TOP, np.int32),
        held=np.ones((1, len(order)), bool),
        window=np.arange(len(order))[None],
        document=whole,
        row=row[None],
        position=position[None],
        peak=unit.mass[order][None],
        displayed=np.full(len(order), -1),
        start=whole[:, :0],
        display=np.zeros((1, 0, 0), np.float16),
    )
    near = near_tokens(read.corpus.windows.ids, row, position, NEAR)[None]  # (1, M, 2 * NEAR + 1)
    kept = choose_contexts(candidates, near, Contexts(top_k=len(order), sampled=0)).kept[0]
    return np.asarray(order[kept])


def _strongest_first(unit: Unit) -> Unit:
    order = np.argsort(-unit.mass, kind="stable")
    return replace(unit, places=unit.places[order], truth=unit.truth[order], mass=unit.mass[order])
