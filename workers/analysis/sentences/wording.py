"""The words of a layer's units: of senses and what stands at their peaks, names and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import isnan
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from polyseme.contract.files.column import NOT_FINITE
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.machine.memory import not_collecting
from polyseme.workers.analysis.senses.layer_senses import Background, LayerSenses, Peaks
from polyseme.workers.analysis.senses.records import TailSenses
from polyseme.workers.analysis.sentences import sentence
from polyseme.workers.analysis.sentences.phrases import Phrase, name_places
from polyseme.workers.analysis.sentences.spots import Spot, make_spots
from polyseme.workers.analysis.sentences.usual import Usual

Language = tuple[str, float]  # and its share of a sense's firing

_FEWEST = 0.05  # of a sense's firing, below which a language is left out


@dataclass(frozen=True, eq=False)
class TailWords:
    """Of N units and M senses."""

    meaning: Sequence[str]  # (N,)
    name: Sequence[str]  # (M,)
    languages: Sequence[Sequence[Language]]  # (M,) the largest first


def word_units(
    senses: LayerSenses | None,
    table: ContextTable,
    peaks: Peaks,
    place: np.ndarray,
    languages: Sequence[str | None] | None,
    background: Background | None,
    lost: np.ndarray,
) -> dict[Tail, TailWords]:
    """As `word_layer` does, also where a job has no senses."""
    if senses is None or background is None:
        return _word_unscored(table, lost)
    return word_layer(senses, peaks, place, languages, background, lost)


def word_layer(
    senses: LayerSenses,
    peaks: Peaks,
    place: np.ndarray,
    languages: Sequence[str | None] | None,
    background: Background,
    lost: np.ndarray,
) -> dict[Tail, TailWords]:
    """senses: of N units alone; place: (C,) of each of their contexts among the peaks; languages:
    (C,) of their documents, None where no document has any; lost: (N,) bool, units of which nothing
    is known.
    """
    with not_collecting():
        spots = _read_spots(peaks, place)
        texts = (background.words, *background.sides)
        usual = Usual(make_spots(*(column.to_pylist() for column in texts)))
        return {
            tail: _word_tail(tail, found, spots, place, languages, usual, lost)
            for tail, found in senses.tails.items()
        }


def _word_unscored(table: ContextTable, lost: np.ndarray) -> dict[Tail, TailWords]:
    """Of a job without senses."""
    fired = np.bincount(
        table.neuron[(table.tail == "positive") & (table.activation > 0)], minlength=len(lost)
    )
    meaning = [
        sentence.describe_unscored(int(count), is_lost=bool(is_lost))
        for count, is_lost in zip(fired, lost, strict=True)
    ]
    return {"positive": TailWords(meaning, (), ())}


def _read_spots(peaks: Peaks, place: np.ndarray) -> dict[int, Spot]:
    """By place, of those that some context has."""
    used = np.unique(place)
    texts = (
        column.take(pa.array(used)).to_pylist()
        for column in (peaks.word, peaks.before, peaks.after)
    )
    return dict(zip(used.tolist(), make_spots(*texts), strict=True))


class _Peak(NamedTuple):
    """At which a unit fires."""

    spot: Spot
    mass: float  # the activation's size
    row: int  # of its sense in the table, negative without one
    language: str | None  # of its document

    @property
    def tongue(self) -> str | None:
        """What is known of its language: the script at least, where its document does not say."""
        return self.language or self.spot.script


def _word_tail(
    name: Tail,
    found: TailSenses,
    spots: Mapping[int, Spot],
    place: np.ndarray,
    spoken: Sequence[str | None] | None,
    usual: Usual,
    lost: np.ndarray,
) -> TailWords:
    verb = sentence.VERBS[name]
    meaning: list[str] = []
    names: list[str] = []
    languages: list[list[Language]] = []
    for unit, peaks in enumerate(_peaks_of_units(found, spots, place, spoken)):
        rows = slice(*np.searchsorted(found.table.neuron, [unit, unit + 1]))
        held = [[p for p in peaks if p.row == row] for row in range(rows.start, rows.stop)]
        own_names = [name_places([p.spot for p in own], usual) for own in held]
        tail = _tail_of(found, unit, peaks, held, rows, own_names)
        status = NOT_FINITE if lost[unit] else str(found.scores["status"][unit])
        meaning.append(sentence.describe_tail(status, verb, tail, usual))
        names += [phrase.text for phrase in own_names]
        languages += map(_find_languages, held)
    return TailWords(meaning, names, languages)


def _peaks_of_units(
    found: TailSenses,
    spots: Mapping[int, Spot],
    place: np.ndarray,
    spoken: Sequence[str | None] | None,
) -> Iterator[list[_Peak]]:
    """The strongest first."""
    evidence = found.evidence
    order = np.lexsort((-evidence.mass, evidence.neuron))
    context = evidence.context[order]
    rows = zip(
        place[context].tolist(),
        evidence.mass[order].tolist(),
        found.owner[order].tolist(),
        [spoken[c] if spoken else None for c in context.tolist()],
        strict=True,
    )
    for first, end in pairwise(evidence.offsets.tolist()):
        yield [
            _Peak(spots[where], mass, row, language)
            for where, mass, row, language in islice(rows, end - first)
        ]


def _tail_of(
    found: TailSenses,
    unit: int,
    peaks: Sequence[_Peak],
    held: Sequence[Sequence[_Peak]],
    rows: slice,
    names: Sequence[Phrase],
) -> sentence.Tail:
    total, table = sum(p.mass for p in peaks), found.table
    standing = float(found.scores["standing"][unit])
    senses = [
        sentence.Sense(
            share=sum(p.mass for p in own) / total,
            is_sure=bool(sure),
            broad=int(broad),
            spots=[p.spot for p in own],
            name=name,
        )
        for own, sure, broad, name in zip(
            held, table.sure[rows], table.broad[rows], names, strict=True
        )
    ]
    return sentence.Tail(
        spots=[p.spot for p in peaks],
        is_said=[p.row >= 0 and names[p.row - rows.start].speaks_of(p.spot) for p in peaks],
        senses=senses,
        is_unrelated=bool(found.scores["unrelated"][unit] == 1),
        standing=None if isnan(standing) else standing,
    )


def _find_languages(peaks: Sequence[_Peak]) -> list[Language]:
    shares = Counter[str]()
    for peak in peaks:
        if peak.tongue is not None:
            shares[peak.tongue] += peak.mass  # type: ignore[assignment]
    total = sum(p.mass for p in peaks)
    found = [(name, mass / total) for name, mass in shares.most_common()]
    return [(name, share) for name, share in found if share >= _FEWEST]
