"""From the lists of a scan to the contexts of a report: ranked, without copies, with their
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyseme.contract.records.request import Contexts, Sampling, Tail
from polyseme.workers.analysis.contexts import walk_candidates
from polyseme.workers.analysis.corpus.windows import Windows
from polyseme.workers.analysis.scan.statistics.context_lists import ContextLists, TailLists
from polyseme.workers.analysis.scan.statistics.top_lists import EMPTY, decode_windows

# Two contexts are near-duplicates when at least this share of the tokens up to so many places from
# the peak agree, place by place. Places outside of one of the windows disagree.
NEAR = 8
NEAR_SHARE = 0.8

TOP = -1  # in place of a band


@dataclass(frozen=True, eq=False)
class Candidates:
    """A neuron's contexts of one tail in order of preference: the top ones, then the sample,
    strongest band first.
    """

    band: np.ndarray  # (M,) int32; TOP for the top list
    held: np.ndarray  # (N, M) bool: there is a context
    window: np.ndarray  # (N, M) int64, number through the corpus
    document: np.ndarray  # (N, M) int32
    row: np.ndarray  # (N, M) int32
    position: np.ndarray  # (N, M) int32
    peak: np.ndarray  # (N, M) float32
    start: np.ndarray  # (N, M) int32
    display: np.ndarray  # (N, M, D) float16


def rank_candidates(scan: TailLists, nonfinite: np.ndarray) -> Candidates:
    """nonfinite: (N,) bool, neurons whose lists have no meaning: they get no contexts."""
    parts = [_ranked(scan.top, 1)]
    bands = [np.full(scan.sizes.top, TOP)]
    if scan.edges is not None:
        parts.append(_ranked(scan.sample, scan.sizes.bands))
        bands.append(np.repeat(np.arange(scan.sizes.bands)[::-1], scan.sizes.band))
    joined = {name: np.concatenate([p[name] for p in parts], axis=1) for name in parts[0]}
    joined["held"][nonfinite] = False
    return Candidates(band=np.concatenate(bands).astype(np.int32), **joined)


def _ranked(lists: ContextLists, each: int) -> dict[str, np.ndarray]:
    """The entries, best first, of `each` lists a neuron joined, the last list first."""
    order = lists.top.ranking()

    def laid(column: np.ndarray) -> np.ndarray:
        ranked = np.take_along_axis(
            column, order.numpy().reshape(*order.shape, *[1] * (column.ndim - 2)), 1
        )
        shape = (len(ranked) // each, each, *ranked.shape[1:])
        return ranked.reshape(shape)[:, ::-1].reshape(shape[0], -1, *shape[3:])

    columns = {name: laid(array) for name, array in lists.arrays().items()}
    columns["held"] = columns["keys"] != EMPTY
    columns["window"] = laid(decode_windows(lists.top.keys).numpy())
    columns["document"] = columns.pop("documents")
    del columns["keys"]
    return columns


def near_tokens(candidates: Candidates, windows: Windows, rows: np.ndarray) -> np.ndarray:
    """The tokens around each peak, (N, M, 2 * NEAR + 1) int32; -1 outside of the window."""
    place = np.searchsorted(rows, candidates.row).clip(max=len(rows) - 1)
    first, end = windows.offsets[place], windows.offsets[place + 1]
    near = np.empty((*place.shape, 2 * NEAR + 1), np.int32)
    walk_candidates.fill_near(first, end, first + candidates.position, windows.ids, near)
    return near


@dataclass(frozen=True, eq=False)
class Choice:
    kept: np.ndarray  # (N, M) bool
    near_duplicates: np.ndarray  # (N,) int32: left out as copies


def choose_contexts(candidates: Candidates, near: np.ndarray, contexts: Contexts) -> Choice:
    """Walks the candidates in their order and keeps each that is new, until its list has what was
    asked for.

    A window already kept is skipped; a near-duplicate of a kept context is skipped and counted.
    """
    kept = np.zeros_like(candidates.held)
    duplicates = np.zeros(len(kept), np.int32)
    top = candidates.band == TOP
    limits = np.where(top, contexts.top_k, contexts.sampled // contexts.bands)
    drop = contexts.near_duplicates == "drop"
    group = np.where(top, contexts.bands, candidates.band)
    walk_candidates.choose(
        candidates.held, candidates.window, group, limits, near, drop, NEAR_SHARE, kept, duplicates
    )
    return Choice(kept, duplicates)


@dataclass(frozen=True, eq=False)
class ContextTable:
    """Chosen contexts as flat columns, in the order of neurons and, within one, of preference.

    C contexts.
    """

    neuron: np.ndarray  # (C,) int64, place in the layer's selection
    tail: np.ndarray  # (C,) str, and so on, as in contract.results.CONTEXT
    sample: np.ndarray
    band: np.ndarray
    document: np.ndarray
    window: np.ndarray
    position: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray
    activation: np.ndarray
    peak_token: np.ndarray
    display_start: np.ndarray
    display_offsets: np.ndarray  # (C + 1,) into the two columns below
    tokens: np.ndarray
    activations: np.ndarray


def build_table(
    tail: Tail,
    sampling: Sampling,
    candidates: Candidates,
    choice: Choice,
    windows: Windows,
    rows: np.ndarray,
) -> ContextTable:
    neuron, m = choice.kept.nonzero()
    row, position = candidates.row[neuron, m], candidates.position[neuron, m]
    start, peak = candidates.start[neuron, m], candidates.peak[neuron, m]
    place = np.searchsorted(rows, row)
    at = windows.offsets[place] + position
    display = candidates.display[neuron, m].astype(np.float32)  # (C, D)
    display[np.arange(len(display)), position - start] = peak
    size = np.minimum(display.shape[1], windows.lengths[place] - start)
    shown = np.arange(display.shape[1]) < size[:, None]  # (C, D)
    first = windows.offsets[place] + start
    band = candidates.band[m]
    return ContextTable(
        neuron=neuron,
        tail=np.full(len(neuron), tail),
        sample=np.where(band == TOP, "top", sampling),
        band=band,
        document=candidates.document[neuron, m],
        window=candidates.window[neuron, m].astype(np.int32),
        position=position,
        char_start=windows.starts[at],
        char_end=windows.ends[at],
        activation=peak,
        peak_token=windows.ids[at],
        display_start=start,
        display_offsets=np.concatenate([[0], np.cumsum(size)]),
        tokens=windows.ids[(first[:, None] + np.arange(display.shape[1]))[shown]],
        activations=display[shown],
    )


def join_tables(tables: list[ContextTable], neurons: int) -> tuple[ContextTable, np.ndarray]:
    """The tables' contexts by neuron, each neuron's in the order of the tables, and the (neurons +
    1,) offsets.
    """
    if len(tables) == 1:
        return tables[0], np.searchsorted(tables[0].neuron, np.arange(neurons + 1))
    columns = {n: np.concatenate([getattr(t, n) for t in tables]) for n in _CONTEXT_COLUMNS}
    order = np.argsort(columns["neuron"], kind="stable")
    sizes = np.concatenate([np.diff(t.display_offsets) for t in tables])
    first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    places = np.repeat(first[order], sizes[order]) + _within(sizes[order])
    joined = ContextTable(
        **{n: c[order] for n, c in columns.items()},
        display_offsets=np.concatenate([[0], np.cumsum(sizes[order])]),
        tokens=np.concatenate([t.tokens for t in tables])[places],
        activations=np.concatenate([t.activations for t in tables])[places],
    )
    return joined, np.searchsorted(joined.neuron, np.arange(neurons + 1))


_CONTEXT_COLUMNS = tuple(
    n
    for n in ContextTable.__dataclass_fields__
    if n not in ("display_offsets", "tokens", "activations")
)


def _within(sizes: np.ndarray) -> np.ndarray:
    """0 … size - 1 for each size, joined."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
