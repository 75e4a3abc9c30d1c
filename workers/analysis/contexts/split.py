"""Contexts of neurons and of the control units behind them: put together, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyseme.workers.analysis.contexts.choose import Candidates, ContextTable


def stack_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Those of several scans with lists of one size, a scan's units behind the other's."""
    first = parts[0]
    columns = {
        name: np.concatenate([vars(part)[name] for part in parts])
        for name in vars(first)
        if name not in ("band", "displayed")
    }
    return Candidates(band=first.band, displayed=first.displayed, **columns)


def stack_tables(tables: Sequence[ContextTable], units: Sequence[int]) -> ContextTable:
    """Those of several groups of units, a group's behind the other's. units: of each."""
    joined = {
        name: np.concatenate([vars(table)[name] for table in tables])
        for name in vars(tables[0])
        if name not in ("neuron", "display_offsets")
    }
    firsts = np.cumsum([0, *units[:-1]])
    sizes = [np.diff(table.display_offsets) for table in tables]
    return ContextTable(
        neuron=np.concatenate([t.neuron + n for t, n in zip(tables, firsts, strict=True)]),
        display_offsets=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]),
        **joined,
    )


def take_contexts(table: ContextTable, offsets: np.ndarray, units: slice) -> ContextTable:
    """Those of a run of units alone. offsets: (N + 1,), each unit's in the table."""
    own = slice(offsets[units.start], offsets[units.stop])
    display = table.display_offsets[own.start : own.stop + 1]
    shown = slice(display[0], display[-1])
    columns = {
        name: column[shown if name in ("tokens", "activations") else own]
        for name, column in vars(table).items()
        if name != "display_offsets"
    }
    columns["neuron"] = columns["neuron"] - units.start
    return ContextTable(display_offsets=display - display[0], **columns)
