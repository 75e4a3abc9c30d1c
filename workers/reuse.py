"""Which layers a job takes over from finished results of its tenant's, and from which.

The plan decides it. The board keeps what was decided with the plan's end, once, and every later
unit goes by that. A plan may be made twice, at the same time, or again later, and not come out the
same, as results come and go. So what belongs to one decision lies in a folder of its own, and no
unit finds files of another.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from polyseme.contract.board.board import Board
from polyseme.contract.errors import PolysemeError
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from polyseme.contract.records.selection import resolve_layers
from polyseme.workers.analysis.machine.stopping import Stop, never
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.copies import UselessResult, copy_result

log = logging.getLogger(__name__)

Reused = Mapping[str, tuple[int, ...]]  # layers by the job from whose result they are taken


@dataclass(frozen=True)
class Source:
    """A finished job with the scan that is looked for."""

    job: str
    layers: frozenset[int]
    same_senses: bool  # asked for with the same options


def may_reuse(job: Job) -> bool:
    """A job that was planned before and scans everything has done some of it by now."""
    scans_all = job.progress.layers_total is not None and not job.reused
    return job.analysis.reuse and not scans_all


def work_folder(job: str, reused: Reused) -> str:
    """Where the files of a job's units lie, by what it takes over."""
    folder = Layout.work(job)
    if not reused:
        return folder
    digest = hashlib.sha256(json.dumps(reused, sort_keys=True).encode()).hexdigest()
    return f"{folder}/reuse-{digest[:16]}"


def plan_reuse(
    board: Board, analysis: Analysis, job: Job, address: str, *, should_stop: Stop = never
) -> Analysis:
    """The analysis with the layers that it takes over, whose files are in its work folder.

    Raises Cancelled.
    """
    sources = find_sources(board, analysis, job, address)
    while chosen := choose_sources(analysis.layers, sources):
        planned = replace(analysis, reused=chosen, work=work_folder(job.id, chosen))
        useless = _copy_all(planned, address, should_stop)
        if not useless:
            return planned
        sources = [
            replace(source, layers=source.layers - useless.get(source.job, frozenset()))
            for source in sources
        ]
    return analysis


def _copy_all(analysis: Analysis, address: str, should_stop: Stop) -> dict[str, frozenset[int]]:
    """Copies what is taken over.

    Returns the layers that cannot be used, by the job that they were to be taken from.
    """
    useless: dict[str, frozenset[int]] = {}
    for job in analysis.reused:
        try:
            copy_result(analysis, job, Layout.result(job), address, should_stop=should_stop)
        except UselessResult as e:
            log.warning("not reused: %s", e)
            useless[job] = frozenset(analysis.layers if e.layers is None else e.layers)
    return useless


def find_sources(board: Board, analysis: Analysis, job: Job, address: str) -> list[Source]:
    """The tenant's finished jobs with this scan, last ended first.

    Their results may be gone all the same.
    """
    candidates = board.jobs.get_many(board.jobs.list_scans(address, job.tenant))
    usable = (
        j
        for j in candidates
        if j.status == "succeeded" and j.tenant == job.tenant and not j.has_expired
    )
    return [source for source in (_read_source(j, analysis) for j in usable) if source]


def _read_source(job: Job, analysis: Analysis) -> Source | None:
    request = job.analysis
    try:
        layers = resolve_layers(request.neurons.layers, analysis.card.layers, analysis.card.id)
    except PolysemeError:
        return None
    return Source(job.id, frozenset(layers), request.senses == analysis.request.senses)


def choose_sources(wanted: Iterable[int], sources: Sequence[Source]) -> dict[str, tuple[int, ...]]:
    """Which of the wanted layers are taken from which job; the first of equal sources.

    Layers with the same senses first, since they need no work; then from as few results as
    possible, or nearly.
    """
    missing, chosen = set(wanted), dict[str, tuple[int, ...]]()

    def gain(source: Source) -> tuple[bool, int]:
        new = len(missing & source.layers)
        return (source.same_senses and new > 0, new)

    while missing and sources:
        best = max(sources, key=gain)
        if not (new := missing & best.layers):
            break
        chosen[best.job] = tuple(sorted(new))
        missing -= new
    return chosen
