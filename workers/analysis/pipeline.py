"""The table of stages: in what order the units of a job run, what runs one, and what it leaves.

The scheduler reads from it what is due, the runner what to call, the repair which unit wrote a
file, and a run without a service the whole order. Knows neither board nor queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import IO, Any, Generic, Literal, TypeVar

from polyseme.contract.files.documents import read_documents, read_languages
from polyseme.contract.files.results import BACKGROUND, LANGUAGES
from polyseme.workers.analysis.corpus.plan import PLAN
from polyseme.workers.analysis.live.check import Check, write_activations
from polyseme.workers.analysis.machine.stopping import Stop, never
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.steps.analysis import Analysis, Report, ignore_tokens
from polyseme.workers.analysis.steps.closing import close_analysis
from polyseme.workers.analysis.steps.document_languages import has_languages, note_languages
from polyseme.workers.analysis.steps.merging import merge_layer
from polyseme.workers.analysis.steps.planning import (
    calibrate,
    calibrate_part,
    count_parts,
    fix_bands,
    measure_fits,
    plan_windows,
)
from polyseme.workers.analysis.steps.projecting import measure_background, project_shard
from polyseme.workers.analysis.steps.regrouping import close_regrouping, regroup_layer
from polyseme.workers.analysis.steps.reusing import reuse_layer
from polyseme.workers.analysis.steps.scan_shard import scan_shard

Phase = Literal["planning", "calibrating", "scanning", "merging", "closing"]
W = TypeVar("W")

PROJECTED_TOGETHER = 8  # shards a unit "project": a second each, while a unit costs round trips


@dataclass(frozen=True)
class Size:
    """What decides how many units a job's stages have: known once its plan is made."""

    shards: int = 0
    layers: int = 0
    calibration_parts: int = 0  # 0: the plan calibrates, or nothing does
    senses: bool = True

    def after(self, facts: Mapping[str, str | int | float]) -> Size:
        """With what a unit has found out."""
        known: dict[str, Any] = {
            name: int(facts[fact]) for name, fact in _SIZE_FACTS.items() if fact in facts
        }
        return replace(self, **known)


_SIZE_FACTS = {
    "shards": "shards_total",
    "layers": "layers_total",
    "calibration_parts": "calibration_parts",
}


@dataclass(frozen=True)
class Done:
    """What a finished unit says of the job."""

    tokens: int = 0  # run by the model
    # Fields of the job's record; "@now" stands for the time of the board's clock.
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    seconds: float = 0.0  # that it took, its model loaded


@dataclass(frozen=True)
class Files:
    """Files of the work folder that a stage writes: a pattern, whose group is a number."""

    pattern: str
    # The number of the unit that wrote it, by the number in its name and the job's layers.
    unit: Callable[[int, Sequence[int]], int] = lambda number, layers: number


@dataclass(frozen=True)
class Stage(Generic[W]):
    name: str  # of its only unit, or before the colon: "scan:3"
    phase: Phase  # that a job shows meanwhile
    run: Callable[[W, int], Done]  # one unit, by its number
    count: Callable[[Size], int] = lambda size: 1  # of its units
    numbered: bool = False  # whether its units have numbers
    files: tuple[Files, ...] = ()
    results: tuple[Files, ...] = ()  # of the result; the last stage writes the others
    counter: str = ""  # the field of the job's record that counts its finished units
    serves: str = ""  # the unit that alone reads its files: once that is done, no unit is due

    def units(self, size: Size) -> tuple[str, ...]:
        numbers = range(self.count(size))
        return tuple(f"{self.name}:{n}" if self.numbered else self.name for n in numbers)


@dataclass(frozen=True)
class AnalysisWork:
    """What the units of an analysis run with."""

    analysis: Analysis
    model: LoadedModel
    documents: Callable[[], AbstractContextManager[IO[bytes]]]  # the corpus' file
    size: Size = field(default_factory=Size)
    on_tokens: Report = ignore_tokens
    should_stop: Stop = never


@dataclass(frozen=True)
class RegroupingWork:
    """What the units of a job run with that makes new senses of another's scan."""

    analysis: Analysis
    source: str  # the folder of that job's result
    should_stop: Stop = never


@dataclass(frozen=True)
class CheckWork:
    """What a live check runs with."""

    check: Check
    model: LoadedModel
    should_stop: Stop = never


def _plan(work: AnalysisWork, number: int) -> Done:
    analysis, facts = work.analysis, {"layers_total": len(work.analysis.layers)}
    if has_languages(analysis):
        with work.documents() as file:
            note_languages(analysis, read_languages(file))
    if not analysis.scanned:
        return Done(facts={**facts, "shards_total": 0, "tokens_total": 0})
    with work.documents() as file:
        plan = plan_windows(
            analysis,
            work.model,
            read_documents(file),
            on_tokens=work.on_tokens,
            should_stop=work.should_stop,
        )
    facts |= {"shards_total": len(plan.shards), "tokens_total": plan.tokens}
    facts |= {"windows_total": plan.windows}
    if (parts := count_parts(analysis)) > 1:
        return Done(facts={**facts, "calibration_parts": parts})
    calibrate(analysis, work.model, should_stop=work.should_stop)
    measure_fits(analysis, work.model, should_stop=work.should_stop)
    return Done(facts={**facts, "scan_began_at": "@now"})


def _calibrate(work: AnalysisWork, part: int) -> Done:
    calibrate_part(work.analysis, work.model, part, should_stop=work.should_stop)
    return Done()


def _fix_bands(work: AnalysisWork, number: int) -> Done:
    fix_bands(work.analysis, should_stop=work.should_stop)
    measure_fits(work.analysis, work.model, should_stop=work.should_stop)
    return Done(facts={"scan_began_at": "@now"})


def _scan(work: AnalysisWork, shard: int) -> Done:
    tokens = scan_shard(
        work.analysis,
        work.model,
        shard,
        on_tokens=work.on_tokens,
        should_stop=work.should_stop,
    )
    return Done(tokens, {"scan_ended_at": "@now"})


def _measure_background(work: AnalysisWork, number: int) -> Done:
    measure_background(work.analysis, work.model, should_stop=work.should_stop)
    return Done()


def _project(work: AnalysisWork, group: int) -> Done:
    first = group * PROJECTED_TOGETHER
    for shard in range(first, min(first + PROJECTED_TOGETHER, work.size.shards)):
        project_shard(work.analysis, shard, should_stop=work.should_stop)
    return Done()


def _merge(work: AnalysisWork, ordinal: int) -> Done:
    analysis = work.analysis
    layer = analysis.layers[ordinal]
    if layer in analysis.scanned:
        merge_layer(analysis, work.model, layer, should_stop=work.should_stop)
    else:
        reuse_layer(analysis, layer, should_stop=work.should_stop)
    return Done()


def _close(work: AnalysisWork, number: int) -> Done:
    manifest = close_analysis(work.analysis, work.model, should_stop=work.should_stop)
    # Of blocks that were cut the last bits are not those that another scan would find.
    return Done(facts={"scan_address": ""} if manifest["blocks_in_parts"] else {})


# What a merge leaves of its layer, by the layer's place among the job's.
_OF_LAYERS = Files(
    r"(?:peaks|scalars|ghosts|seals)/layer-(\d+)\.npz", lambda n, layers: layers.index(n)
)
# And in the result.
_LAYER_RESULTS = Files(
    r"(?:reports|ghosts|fires)/layer-(\d+)\.\w+", lambda n, layers: layers.index(n)
)


def _needs_background(size: Size) -> bool:
    # A job that scans nothing finds it in the result that it takes its layers from.
    return size.shards > 0 and size.senses


ANALYSIS: tuple[Stage[AnalysisWork], ...] = (
    Stage(
        "plan",
        "planning",
        _plan,
        files=(
            Files(re.escape(PLAN)),
            Files(r"encoder\.json"),
            Files(re.escape(LANGUAGES)),
            Files(r"windows/\d+\.arrow"),
            Files(r"calibration/windows\.npz"),
            Files(r"reused/.+"),
        ),
    ),
    Stage(
        "calibrate",
        "calibrating",
        _calibrate,
        count=lambda size: size.calibration_parts,
        numbered=True,
        serves="bands",
        files=(Files(r"calibration/peaks-(\d+)\.npz"),),
    ),
    Stage(
        "bands",
        "calibrating",
        _fix_bands,
        count=lambda size: int(size.calibration_parts > 0),
        files=(Files(r"bands\.npz"), Files(r"fits\.npz")),
    ),
    Stage(
        "scan",
        "scanning",
        _scan,
        count=lambda size: size.shards,
        numbered=True,
        files=(Files(r"partials/(\d+)\.npz"), Files(r"vectors/(\d+)\.npz")),
        counter="shards_done",
    ),
    Stage(
        "background",
        "calibrating",
        _measure_background,
        count=lambda size: int(_needs_background(size)),
        files=(Files(re.escape(BACKGROUND)),),
    ),
    Stage(
        "project",
        "calibrating",
        _project,
        count=lambda s: -(-s.shards // PROJECTED_TOGETHER) if _needs_background(s) else 0,
        numbered=True,
        files=(Files(r"projected/(\d+)\.npz", lambda shard, _: shard // PROJECTED_TOGETHER),),
    ),
    Stage(
        "merge",
        "merging",
        _merge,
        count=lambda size: size.layers,
        numbered=True,
        files=(_OF_LAYERS,),
        results=(_LAYER_RESULTS,),
        counter="layers_done",
    ),
    Stage("close", "closing", _close),
)


def _plan_regrouping(work: RegroupingWork, number: int) -> Done:
    layers = len(work.analysis.layers)
    return Done(facts={"shards_total": 0, "layers_total": layers, "tokens_total": 0})


def _regroup(work: RegroupingWork, ordinal: int) -> Done:
    layer = work.analysis.layers[ordinal]
    regroup_layer(work.analysis, work.source, layer, should_stop=work.should_stop)
    return Done()


def _close_regrouping(work: RegroupingWork, number: int) -> Done:
    close_regrouping(work.analysis, work.source, should_stop=work.should_stop)
    return Done()


# New senses of another job's scan: no model runs.
REGROUPING: tuple[Stage[RegroupingWork], ...] = (
    Stage("plan", "planning", _plan_regrouping),
    Stage(
        "merge",
        "merging",
        _regroup,
        count=lambda size: size.layers,
        numbered=True,
        files=(_OF_LAYERS,),
        results=(_LAYER_RESULTS,),
        counter="layers_done",
    ),
    Stage("close", "closing", _close_regrouping),
)


def _check_text(work: CheckWork, number: int) -> Done:
    return Done(write_activations(work.check, work.model, should_stop=work.should_stop))


# A live check of a text.
CHECK: tuple[Stage[CheckWork], ...] = (Stage("activate", "scanning", _check_text),)


@dataclass(frozen=True)
class Due:
    """What of a job may run now."""

    phase: Phase
    units: tuple[str, ...]  # in their order; done ones left out


def due_units(stages: Sequence[Stage[Any]], size: Size | None, done: set[str]) -> Due | None:
    """The units of the first stage that is not done; None when the last one is.

    size: None before the plan is made.
    """
    if stages[-1].name in done:
        return None
    if size is None:
        return Due(stages[0].phase, (stages[0].name,))
    for stage in stages:
        if stage.serves in done:
            continue
        if left := tuple(unit for unit in stage.units(size) if unit not in done):
            return Due(stage.phase, left)
    raise AssertionError("the last stage has one unit, and it is not done")


def split_unit(stages: Sequence[Stage[W]], unit: str) -> tuple[Stage[W], int]:
    """The stage of a unit, and the unit's number, 0 for an only one."""
    name, _, number = unit.partition(":")
    return next(stage for stage in stages if stage.name == name), int(number or 0)


def find_writer(
    stages: Sequence[Stage[Any]], name: str, size: Size, layers: Sequence[int]
) -> str | None:
    """The unit that wrote a file of the work folder; None when no stage does.

    What a stage without units would have written, the plan did.
    """
    for stage in stages:
        for files in stage.files:
            if match := re.fullmatch(files.pattern, name):
                return _unit_of(stage, files, match, size, layers) or stages[0].name
    return None


def find_result_writer(
    stages: Sequence[Stage[Any]], name: str, size: Size, layers: Sequence[int]
) -> str:
    """The unit that wrote a file of the result."""
    for stage in stages:
        for files in stage.results:
            if match := re.fullmatch(files.pattern, name):
                return _unit_of(stage, files, match, size, layers) or stages[-1].name
    return stages[-1].name


def _unit_of(
    stage: Stage[Any], files: Files, match: re.Match[str], size: Size, layers: Sequence[int]
) -> str | None:
    """None of a stage without units."""
    if not (units := stage.units(size)):
        return None
    return units[files.unit(int(match[1]), layers) if match.groups() else 0]
