"""The verdicts as tables in Markdown.

The first figure of a cell is the mean over units, its interval in brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.markdown import table
from benchmarks.senses import metrics
from benchmarks.senses.judging import Verdict, find_places
from benchmarks.senses.material import ReadCorpus
from benchmarks.senses.methods import DEFAULT, MEAN_COSINE, NO_ENCODER, Methods
from benchmarks.senses.toy import Toy
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.senses.status import ONE_MEANING
from polyseme.workers.analysis.senses.word_uses import two_uses

POOLED = ("T1", "T2", "T3")
SMALLEST = Senses().min_contexts  # contexts of a concept without which it cannot be a sense
_TITLES = {
    "T1": "T1, unrelated concepts together",
    "T2": "T2, each family with its nearest",
    "T3": "T3, one concept",
    "T5": "T5, topics: any content word of a genre",
    "T6": "T6, syntax: any word of a form or place",
}
_HEADER = (
    "",
    "units",
    "exact count",
    "error",
    "ARI",
    "V-measure",
    "B-cubed",
    "ρ with the number",
    "AUROC several",
)

Statistic = Callable[[Sequence[Verdict]], float]


def exact(verdicts: Sequence[Verdict]) -> float:
    return float(np.mean([v.count == v.unit.senses for v in verdicts]))


def error(verdicts: Sequence[Verdict]) -> float:
    return float(np.mean([abs(v.count - v.unit.senses) for v in verdicts]))


def _mean(
    agreement: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[Sequence[Verdict]], np.ndarray]:
    return lambda verdicts: np.array([agreement(v.unit.truth, v.sense) for v in verdicts])


_ari, _v, _b3 = (_mean(f) for f in (metrics.adjusted_rand, metrics.v_measure, metrics.b_cubed))


def tables(read: ReadCorpus, methods: Methods) -> Iterator[str]:
    yield _counting("T1 to T3 pooled", methods, POOLED)
    for tier, title in _TITLES.items():
        if _of(methods[DEFAULT], tier):
            yield _counting(title, methods, (tier,))
    yield _kinds(methods)
    yield _seeds(methods)
    if _of(methods[DEFAULT], "T4"):
        yield _uses(read, methods)
    yield _nulls(methods)
    yield _interval(methods)


def _of(verdicts: Sequence[Verdict], *tiers: str, kind: str = "") -> list[Verdict]:
    return [v for v in verdicts if v.unit.tier in tiers and kind in ("", v.unit.kind)]


def _counting(title: str, methods: Methods, tiers: Sequence[str]) -> str:
    chosen = {name: found for name, verdicts in methods.items() if (found := _of(verdicts, *tiers))}
    rows = [_row(name, verdicts) for name, verdicts in chosen.items()]
    rows.append(_mean_cosine(chosen[DEFAULT]))
    return f"### {title}\n\n{table(_HEADER, rows)}"


def _row(name: str, verdicts: Sequence[Verdict]) -> list[str]:
    right = np.array([v.count == v.unit.senses for v in verdicts], float)
    off = np.array([abs(v.count - v.unit.senses) for v in verdicts], float)
    polysemanticity = np.array([v.polysemanticity for v in verdicts])
    found = [_spread(x) for x in (right, off, _ari(verdicts), _v(verdicts), _b3(verdicts))]
    return [
        name,
        str(len(verdicts)),
        *found,
        *_ranking(verdicts, polysemanticity, [v.count for v in verdicts]),
    ]


def _mean_cosine(verdicts: Sequence[Verdict]) -> list[str]:
    """It counts nothing, but its fall can be set against the number."""
    fall = np.array([-v.scores["monosemanticity_score"] for v in verdicts])
    return [MEAN_COSINE, str(len(verdicts)), *["-"] * 5, *_ranking(verdicts, fall, fall)]


def _ranking(
    verdicts: Sequence[Verdict], score: np.ndarray, count: Sequence[float] | np.ndarray
) -> list[str]:
    senses, count = np.array([v.unit.senses for v in verdicts]), np.asarray(count, float)

    def correlation(drawn: np.ndarray) -> float:
        return metrics.rank_correlation(senses[drawn], count[drawn])

    def several(drawn: np.ndarray) -> float:
        own, known = score[drawn], senses[drawn] > 1
        return metrics.auroc(own[known], own[~known])

    return [_with_interval(f, len(verdicts)) for f in (correlation, several)]


def _spread(values: np.ndarray) -> str:
    return (
        _with_interval(lambda drawn: float(values[drawn].mean()), len(values))
        if len(values)
        else "-"
    )


def _with_interval(statistic: Callable[[np.ndarray], float], units: int, draws: int = 1000) -> str:
    value = statistic(np.arange(units))
    if np.isnan(value):
        return "-"
    low, high = metrics.interval(statistic, units, draws)
    return f"{value:.3f} [{low:.2f}, {high:.2f}]"


def _kinds(methods: Methods) -> str:
    """T1 to T3 by kind of unit."""
    names = (DEFAULT, NO_ENCODER)
    kinds = list(dict.fromkeys((v.unit.tier, v.unit.kind) for v in _of(methods[DEFAULT], *POOLED)))
    rows = []
    for tier, kind in kinds:
        parts = [_of(methods[name], tier, kind=kind) for name in names]
        figures = [f"{x:.3f}" for p in parts for x in (exact(p), error(p), float(_ari(p).mean()))]
        rows.append([f"{tier} {kind}", str(len(parts[0])), *figures])
    header = ["", "units", *(f"{n}: {x}" for n in names for x in ("exact", "error", "ARI"))]
    return f"### By kind\n\n{table(header, rows)}"


def _seeds(methods: Methods) -> str:
    rows = []
    for name in (DEFAULT, NO_ENCODER):
        pooled = _of(methods[name], *POOLED)
        for seed in sorted({v.unit.seed for v in pooled}):
            own = [v for v in pooled if v.unit.seed == seed]
            figures = (exact(own), error(own), float(_ari(own).mean()))
            rows.append([f"{name}, seed {seed}", str(len(own)), *(f"{x:.3f}" for x in figures)])
    return f"### T1 to T3 by seed\n\n{table(['', 'units', 'exact count', 'error', 'ARI'], rows)}"


def _uses(read: ReadCorpus, methods: Methods) -> str:
    """T4."""
    rows = []
    for name in (DEFAULT, NO_ENCODER):
        rows.append(
            _uses_row(name, methods[name], [v.polysemanticity for v in _of(methods[name], "T4")])
        )
    verdicts = _of(methods[DEFAULT], "T4")
    shares = [_between_uses(read, v) for v in verdicts]
    rows.append(_uses_row("variance between two uses", verdicts, shares, counts=False))
    fall = [-v.scores["monosemanticity_score"] for v in verdicts]
    rows.append(_uses_row(MEAN_COSINE, verdicts, fall, counts=False))
    header = [
        "",
        "homographs",
        "controls",
        "AUROC",
        "homographs split",
        "controls split",
        "ARI, homographs",
    ]
    return f"### T4, homographs against words of one use\n\n{table(header, rows)}"


def _between_uses(read: ReadCorpus, verdict: Verdict) -> float:
    at = find_places(read, verdict.unit.places)
    one_word = np.zeros(len(verdict.unit.places), np.int64)
    return float(two_uses(read.background.uses(read.project(*at)), one_word)[1])


def _uses_row(
    name: str, verdicts: Sequence[Verdict], score: Sequence[float], counts: bool = True
) -> list[str]:
    verdicts, known = _of(verdicts, "T4"), np.asarray(score)
    two = np.array([v.unit.kind == "homograph" for v in verdicts])

    def several(drawn: np.ndarray) -> float:
        own, which = known[drawn], two[drawn]
        return metrics.auroc(own[which], own[~which])

    area = _with_interval(several, len(verdicts))
    if not counts:
        return [name, str(two.sum()), str((~two).sum()), area, *["-"] * 3]
    split = np.array([v.count > 1 for v in verdicts], float)
    ari = _spread(_ari([v for v in verdicts if v.unit.kind == "homograph"]))
    return [
        name,
        str(two.sum()),
        str((~two).sum()),
        area,
        _spread(split[two]),
        _spread(split[~two]),
        ari,
    ]


def _nulls(methods: Methods) -> str:
    """T9, and coverage as a sign that contexts have something in common."""
    rows = []
    for name, verdicts in methods.items():
        random = _of(verdicts, "T9", kind="random")
        if not random:
            continue
        covered, coherent = (
            np.array([v.covered for v in part]) for part in (random, _of(verdicts, *POOLED))
        )
        rare = [float(finds_rare(v)) for v in _of(verdicts, "T9", kind="rare")]
        figures = [
            _spread(np.array([v.count > 0 for v in random], float)),
            _spread((covered >= ONE_MEANING).astype(float)),
            f"{covered.mean():.2f}",
            f"{metrics.auroc(coherent, covered):.3f}",
        ]
        rows.append([name, str(len(random)), *figures, _spread(np.array(rare)) if rare else "-"])
    header = [
        "",
        "random units",
        "any sense",
        f"coverage of {ONE_MEANING:g} or more",
        "coverage",
        "AUROC of coverage, T1 to T3 against random",
    ]
    return f"### T9, nulls\n\n{table([*header, '5 % sense found'], rows)}"


def finds_rare(verdict: Verdict) -> bool:
    """Whether some sense is mostly the rarest concept and holds most of it."""
    rare = verdict.unit.truth == verdict.unit.senses - 1
    inside = [verdict.sense == s for s in range(verdict.count)]
    return any((rare & held).sum() > max(held.sum(), rare.sum()) / 2 for held in inside)


def _interval(methods: Methods) -> str:
    """How often the score's 90 % interval holds the value that endlessly many contexts would
    give.
    """
    rows = []
    for tier, what in (("T1 drawn", "sizes drawn"), ("T1", "sizes fixed")):
        for name in (DEFAULT, NO_ENCODER):
            scored = [
                v for v in _of(methods[name], tier) if not np.isnan(v.scores["polysemanticity"])
            ]
            right = [v for v in scored if v.count == v.unit.senses]
            several = [v for v in scored if v.unit.senses > 1]
            whole = [
                v
                for v in scored
                if np.unique(v.unit.truth, return_counts=True)[1].min() >= SMALLEST
            ]
            whole = [v for v in whole if len(v.unit.name.split("+")) == v.unit.senses]
            chosen = (scored, several, whole, right)
            parts = [
                f"{len(p)}: {_spread(np.array([_covers(v) for v in p], float))}" for p in chosen
            ]
            rows.append([f"{name}, {what}", *parts])
    header = [
        "",
        "all units",
        "units of several concepts",
        "units with enough of each",
        "units counted right",
    ]
    return f"### T1, the 90 % interval of the score\n\n{table(header, rows)}"


def _covers(verdict: Verdict) -> bool:
    low, high = verdict.scores["polysemanticity_low"], verdict.scores["polysemanticity_high"]
    return bool(low - 1e-9 <= verdict.unit.value <= high + 1e-9)


def copies(changed: int, units: int) -> str:
    return (
        f"### T9, copies\n\nOf {units} units of T1 with ten contexts copied, {changed} have "
        f"another score or sense."
    )


def toy(found: Toy) -> str:
    header = [
        "neurons",
        "told",
        "ρ of effective senses with the participation ratio",
        "mean distance",
        "middle ratio",
    ]
    row = [found.neurons, f"{found.told:.2f}", f"{found.correlation:.3f}", f"{found.error:.2f}"]
    return f"### T8, toy superposition\n\n{table(header, [[*row, f'{found.median_ratio:.2f}']])}"
