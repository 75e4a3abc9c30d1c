"""Units through the library as the neurons of one layer, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.senses.material import ReadCorpus
from benchmarks.senses.units import Unit
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses.find_senses import find_senses
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import WORDS, PairKind
from polyseme.workers.analysis.senses.records import Evidence


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a method says of one unit."""

    unit: Unit
    sense: np.ndarray  # (n,) from 0, negative for none
    # by the names of `polyseme.contract.files.results.SCORES`; empty for a method without any
    scores: Mapping[str, float]

    @property
    def count(self) -> int:
        return int(self.sense.max(initial=-1)) + 1

    @property
    def covered(self) -> float:
        """Share of the activation that is in senses."""
        return float(self.unit.mass[self.sense >= 0].sum() / self.unit.mass.sum())

    @property
    def polysemanticity(self) -> float:
        """The score that was given, or 1 less the sum of squared shares; 0 without senses."""
        given = self.scores.get("polysemanticity", np.nan)
        if not np.isnan(given):
            return given
        if not self.count:
            return 0.0
        inside = self.sense >= 0
        held = np.bincount(self.sense[inside], self.unit.mass[inside])
        return 1.0 - float(((held / held.sum()) ** 2).sum())


def judge_units(read: ReadCorpus, units: Sequence[Unit], kind: PairKind = WORDS) -> list[Verdict]:
    row, position = find_places(read, np.concatenate([u.places for u in units]))
    tokens = read.corpus.windows.ids[row, position]
    return judge(units, read.compare(row, position, kind), tokens)


def find_places(read: ReadCorpus, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions of places among the corpus' words."""
    return read.corpus.found.row[places], read.corpus.found.position[places]


def judge(
    units: Sequence[Unit], material: Material, tokens: np.ndarray, options: Senses | None = None
) -> list[Verdict]:
    """material: of the units' contexts in their order; tokens: (C,) at their peaks."""
    sizes = np.array([len(u.places) for u in units])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    contexts = np.arange(offsets[-1])
    mass = np.concatenate([u.mass for u in units])
    shown = np.ones(len(contexts), bool)
    evidence = Evidence(offsets, contexts, contexts, mass, tokens.astype(np.int32), shown)
    made = find_senses(evidence, material, None, options or Senses())
    return [
        Verdict(
            unit, made.sense[first:end], {name: column[i] for name, column in made.scores.items()}
        )
        for i, (unit, first, end) in enumerate(zip(units, offsets[:-1], offsets[1:], strict=True))
    ]
