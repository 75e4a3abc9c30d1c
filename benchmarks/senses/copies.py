"""Copies of contexts, injected before the service chooses a neuron's contexts: do they change what
it says?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.senses.judging import Verdict, judge
from benchmarks.senses.material import Material
from benchmarks.senses.units import Unit
from polyseme.contract.records.request import Contexts
from polyseme.workers.analysis.contexts.choose import NEAR, TOP, Candidates, choose_contexts
from polyseme.workers.analysis.senses.layer_senses import Background

COPIED = 10  # of each unit's contexts, the strongest ones, once each


def count_changed(
    material: Material, background: Background, units: Sequence[Unit]
) -> tuple[int, int]:
    """How many of the units have another score, coverage or sense with copies than without; and how
    many units.
    """
    bare, copied = [_strongest_first(u) for u in units], []
    for unit in bare:
        order = choose(
            material, unit, np.concatenate([np.arange(len(unit.places)), np.arange(COPIED)])
        )
        copied.append(
            replace(unit, places=unit.places[order], truth=unit.truth[order], mass=unit.mass[order])
        )
    pairs = zip(*(_judged(material, background, u) for u in (bare, copied)), strict=True)
    return sum(not _is_same(one, other) for one, other in pairs), len(bare)


def _is_same(one: Verdict, other: Verdict) -> bool:
    return np.array_equal(one.sense, other.sense) and all(
        value == other.scores[name] or (value != value and other.scores[name] != other.scores[name])
        for name, value in one.scores.items()
    )


def choose(material: Material, unit: Unit, contexts: np.ndarray) -> np.ndarray:
    """Which of the unit's contexts the service keeps of these, each standing in a window of its
    own; in its order.
    """
    order = contexts[np.argsort(-unit.mass[contexts], kind="stable")]
    places = unit.places[order]
    row, position = material.found.row[places][None], material.found.position[places][None]
    whole = np.zeros((1, len(order)), np.int32)
    candidates = Candidates(
        band=np.full(len(order), TOP, np.int32),
        held=np.ones((1, len(order)), bool),
        window=np.arange(len(order))[None],
        document=whole,
        row=row,
        position=position,
        peak=unit.mass[order][None],
        start=whole,
        display=np.zeros((1, len(order), 1), np.float16),
    )
    near = material.near(places, NEAR)[None]  # (1, M, 2 * NEAR + 1)
    kept = choose_contexts(candidates, near, Contexts(top_k=len(order), sampled=0)).kept[0]
    return np.asarray(order[kept])


def _strongest_first(unit: Unit) -> Unit:
    order = np.argsort(-unit.mass, kind="stable")
    return replace(unit, places=unit.places[order], truth=unit.truth[order], mass=unit.mass[order])


def _judged(material: Material, background: Background, units: Sequence[Unit]) -> list[Verdict]:
    places = np.concatenate([u.places for u in units])
    return judge(
        units, background.space(material.project(background, places)), material.found.token[places]
    )
