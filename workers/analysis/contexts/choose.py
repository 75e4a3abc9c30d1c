"""From the lists of a scan to the contexts of a report: ranked, without copies, with their
tokens where they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

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
    strongest band first. M of them, the activations of P.
    """

    band: np.ndarray  # (M,) int32; TOP for the top list
    held: np.ndarray  # (N, M) bool: there is a context
    window: np.ndarray  # (N, M) int64, number through the corpus
    document: np.ndarray  # (N, M) int32
    row: np.ndarray  # (N, M) int32
    position: np.ndarray  # (N, M) int32
    peak: np.ndarray  # (N, M) float32
    displayed: np.ndarray  # (M,) which of the P it is; -1 for none
    start: np.ndarray  # (N, P) int32
    display: np.ndarray  # (N, P, D) float16


def rank_candidates(scan: TailLists, nonfinite: np.ndarray) -> Candidates:
    """nonfinite: (N,) bool, neurons whose lists have no meaning: they get no contexts."""
    bands = scan.sizes.bands
    parts = [_ranked(scan.with_shown("top"), 1)]
    of_band = [np.full(scan.sizes.top, TOP)]
    if scan.has_sample:
        parts.append(_ranked(scan.with_shown("sample"), bands))
        of_band.append(np.repeat(np.arange(bands)[::-1], scan.sizes.band))
    joined = {name: np.concatenate([p[name] for p in parts], axis=1) for name in parts[0]}
    joined["held"][nonfinite] = False
    if scan.sizes.active_only:
        joined["held"] &= joined["peak"] * scan.sign > 0
    places = joined.pop("displayed")[0]
    first = np.cumsum(places) - 1
    return Candidates(
        band=np.concatenate(of_band).astype(np.int32),
        displayed=np.where(places, first, -1),
        **joined,
    )


def _ranked(lists: list[ContextLists], each: int) -> dict[str, np.ndarray]:
    """The entries, best first, of `each` lists a neuron joined, the last list first.

    lists: the whole ones, and where there are any the shorter ones with the activations.
    """
    columns, displays = _laid(lists[0], each), _laid(lists[-1], each)
    _, shown, tokens = lists[-1].display.shape
    shown = shown if tokens else 0
    return {
        "held": columns["keys"] != EMPTY,
        "window": decode_windows(torch.from_numpy(columns["keys"])).numpy(),
        "document": columns["documents"],
        **{name: columns[name] for name in ("row", "position", "peak")},
        "displayed": np.tile(np.arange(lists[0].row.shape[1]) < shown, each)[None],
        **{name: displays[name][:, : each * shown] for name in ("start", "display")},
    }


def _laid(lists: ContextLists, each: int) -> dict[str, np.ndarray]:
    order = lists.top.ranking().numpy()

    def laid(column: np.ndarray) -> np.ndarray:
        ranked = np.take_along_axis(
            column, order.reshape(*order.shape, *[1] * (column.ndim - 2)), 1
        )
        neurons, k, *rest = len(ranked) // each, *ranked.shape[1:]
        by_list = ranked.reshape(neurons, each, k, *rest)
        return by_list[:, ::-1].reshape(neurons, each * k, *rest)

    return {name: laid(array) for name, array in lists.arrays().items()}


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
    shown: np.ndarray  # (N, M) bool: which of these with text and activations
    near_duplicates: np.ndarray  # (N,) int32: left out as copies


def choose_contexts(candidates: Candidates, near: np.ndarray, contexts: Contexts) -> Choice:
    """Walks the candidates in their order and keeps each that is new, until its list has what was
    asked for; of each list the first are shown.

    A window already kept is skipped; a near-duplicate of a kept context is skipped and counted.
    """
    kept = np.zeros_like(candidates.held)
    duplicates = np.zeros(len(kept), np.int32)
    bands = contexts.sample_lists
    top = candidates.band == TOP
    limits = np.where(top, contexts.top_k, contexts.sampled // bands)
    drop = contexts.near_duplicates == "drop"
    group = np.where(top, bands, candidates.band)
    walk_candidates.choose(
        candidates.held, candidates.window, group, limits, near, drop, NEAR_SHARE, kept, duplicates
    )
    shown = np.zeros_like(kept)
    for own in range(bands + 1):
        most = contexts.shown if own == bands else _share_of_band(contexts.shown, bands, own)
        part = np.flatnonzero((group == own) & (candidates.displayed >= 0))
        shown[:, part] = kept[:, part] & (kept[:, part].cumsum(1) <= most)
    return Choice(kept, shown, duplicates)


def _share_of_band(shown: int, bands: int, band: int) -> int:
    """Of all that is shown of a sample; what is over goes to the strongest bands."""
    return shown // bands + (bands - band <= shown % bands)


@dataclass(frozen=True, eq=False)
class ContextTable:
    """Chosen contexts as flat columns: by neuron, those that are shown before the others, and both
    in the order of preference. C contexts.
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
    shown: np.ndarray  # (C,) bool; of the others there is nothing below
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
    is_shown = choice.shown[neuron, m]
    order = np.argsort(neuron << 1 | ~is_shown, kind="stable")
    neuron, m, is_shown = neuron[order], m[order], is_shown[order]
    row, position = candidates.row[neuron, m], candidates.position[neuron, m]
    peak = candidates.peak[neuron, m]
    place = np.searchsorted(rows, row)
    at = windows.offsets[place] + position
    band = candidates.band[m]
    return ContextTable(
        neuron=neuron,
        tail=np.full(len(neuron), tail),
        sample=np.where(band == TOP, "top", sampling),
        band=np.where(sampling == "activation", TOP, band),
        document=candidates.document[neuron, m],
        window=candidates.window[neuron, m].astype(np.int32),
        position=position,
        char_start=windows.starts[at],
        char_end=windows.ends[at],
        activation=peak,
        peak_token=windows.ids[at],
        shown=is_shown,
        **_displays(candidates, windows, place, neuron, m, is_shown),
    )


def _displays(
    candidates: Candidates,
    windows: Windows,
    place: np.ndarray,
    neuron: np.ndarray,
    m: np.ndarray,
    is_shown: np.ndarray,
) -> dict[str, np.ndarray]:
    """The columns of what stands around the peaks. place: (C,) of each context's window."""
    own, at = np.flatnonzero(is_shown), candidates.displayed[m[is_shown]]
    neuron, place, m = neuron[own], place[own], m[own]
    start = candidates.start[neuron, at]
    display = candidates.display[neuron, at].astype(np.float32)  # (C shown, D)
    peaks = candidates.position[neuron, m] - start
    display[np.arange(len(display)), peaks] = candidates.peak[neuron, m]
    size = np.minimum(display.shape[1], windows.lengths[place] - start)
    inside = np.arange(display.shape[1]) < size[:, None]
    first = windows.offsets[place] + start
    starts, sizes = np.zeros((2, len(is_shown)), np.int64)
    starts[own], sizes[own] = start, size
    return {
        "display_start": starts.astype(np.int32),
        "display_offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "tokens": windows.ids[(first[:, None] + np.arange(display.shape[1]))[inside]],
        "activations": display[inside],
    }


def join_tables(tables: list[ContextTable], neurons: int) -> tuple[ContextTable, np.ndarray]:
    """The tables' contexts by neuron, each neuron's in the order of the tables, those that are
    shown first, and the (neurons + 1,) offsets.
    """
    if len(tables) == 1:
        return tables[0], np.searchsorted(tables[0].neuron, np.arange(neurons + 1))
    columns = {n: np.concatenate([getattr(t, n) for t in tables]) for n in _CONTEXT_COLUMNS}
    order = np.argsort(columns["neuron"] << 1 | ~columns["shown"], kind="stable")
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


def take_shown(table: ContextTable) -> ContextTable:
    """Those that are shown alone."""
    own = table.shown
    columns = {n: getattr(table, n)[own] for n in _CONTEXT_COLUMNS}
    offsets = np.append(table.display_offsets[:-1][own], table.display_offsets[-1])
    return ContextTable(
        **columns, display_offsets=offsets, tokens=table.tokens, activations=table.activations
    )


_CONTEXT_COLUMNS = tuple(
    n
    for n in ContextTable.__dataclass_fields__
    if n not in ("display_offsets", "tokens", "activations")
)


def _within(sizes: np.ndarray) -> np.ndarray:
    """0 … size - 1 for each size, joined."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
