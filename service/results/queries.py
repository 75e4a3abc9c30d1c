"""Lists of neurons and of control units: a client's filters, order and columns, checked and then
run on a table of scalars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.errors import Detail, InvalidRequest
from polyseme.contract.files.column import negative
from polyseme.contract.files.columns import BOUNDED, GHOST_BOUNDED, GHOST_LISTED, LISTED
from polyseme.contract.records.selection import parse_ranges
from polyseme.service.results.scalars import Scalars, Vocabulary


@dataclass(frozen=True)
class ListColumns:
    """Of a table of scalars."""

    listed: tuple[str, ...]
    bounded: tuple[str, ...]


NEURON_COLUMNS = ListColumns(LISTED, BOUNDED)
CONTROL_COLUMNS = ListColumns(GHOST_LISTED, GHOST_BOUNDED)


@dataclass(frozen=True)
class RowQuery:
    layers: tuple[int, ...] | None  # ends of ranges: first, last, first, last ...; None for all
    neurons: tuple[int, ...] | None
    statuses: tuple[tuple[str, str], ...]  # column, wanted
    token: str | None
    meaning: str | None  # in the sentence of a tail
    bounds: tuple[tuple[str, float | None, float | None], ...]  # column, at least, at most
    sort: tuple[tuple[str, str], ...]  # column, ascending or descending
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    rows: list[dict[str, Any]]
    total: int  # rows that pass the filters
    next_offset: int | None


def plan_query(args: Mapping[str, Any], columns: ListColumns = NEURON_COLUMNS) -> RowQuery:
    """The query of what `NeuronsQuery` or `ControlsQuery` loaded.

    Raises InvalidRequest with everything that is wrong.
    """
    wrong: list[Detail] = []
    query = RowQuery(
        layers=_read_ranges(args, "layer", wrong),
        neurons=_read_ranges(args, "neuron", wrong),
        statuses=tuple(
            (name, args[name]) for name in ("status", "negative_status") if name in args
        ),
        token=args.get("token"),
        meaning=args.get("meaning"),
        bounds=tuple(
            (name, args.get(f"min_{name}"), args.get(f"max_{name}"))
            for name in columns.bounded
            if f"min_{name}" in args or f"max_{name}" in args
        ),
        sort=_read_sort(args.get("sort"), columns.listed, wrong),
        columns=_read_columns(args.get("fields_"), columns.listed, wrong),
    )
    if wrong:
        raise InvalidRequest("; ".join(d.detail for d in wrong[:3]), details=tuple(wrong))
    return query


def run_query(
    query: RowQuery, scalars: Scalars, vocabulary: Vocabulary | None, offset: int, limit: int
) -> Page:
    """One page. `vocabulary` is needed only when the query names a token."""
    mask, end = _mask(query, scalars, vocabulary), offset + limit
    rows = scalars.first(query.sort, end, mask)
    total = len(scalars.table) if mask is None else pc.sum(mask).as_py() or 0
    page = scalars.table.select(query.columns).take(rows.slice(offset, limit))
    return Page(page.to_pylist(), total, end if end < total else None)


def in_ranges(values: Any, ends: Sequence[int]) -> Any:
    """Which values lie in one of the ranges."""
    masks = [
        pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
        for first, last in zip(ends[::2], ends[1::2], strict=True)
    ]
    return reduce(pc.or_, masks)


def read_ranges(text: str, name: str) -> tuple[int, ...]:
    """The ends of a query's ranges. Raises InvalidRequest."""
    wrong: list[Detail] = []
    ends = _read_ranges({name: text}, name, wrong)
    if ends is None:
        raise InvalidRequest(wrong[0].detail, details=tuple(wrong))
    return ends


def _mask(query: RowQuery, scalars: Scalars, vocabulary: Vocabulary | None) -> pa.Array | None:
    table, masks = scalars.table, []
    for name, ends in (("layer", query.layers), ("neuron", query.neurons)):
        if ends is not None:
            masks.append(in_ranges(table[name], ends))
    masks += [pc.equal(table[name], wanted) for name, wanted in query.statuses]
    for name, low, high in query.bounds:
        masks += [pc.greater_equal(table[name].cast(pa.float64()), low)] if low is not None else []
        masks += [pc.less_equal(table[name].cast(pa.float64()), high)] if high is not None else []
    if query.token is not None and vocabulary is not None:
        ids, text = vocabulary.ids_of(query.token).cast(pa.int32()), query.token.strip()
        masks.append(
            pc.or_(
                _has_one_of(scalars, "peak_token_ids", ids),
                _has_one_of(scalars, "peak_texts", pa.array([text], pa.string())),
            )
        )
    if query.meaning is not None:
        masks.append(
            reduce(
                pc.or_,
                (
                    pc.fill_null(
                        pc.match_substring(table[name], query.meaning, ignore_case=True), False
                    )
                    for name in ("meaning", negative("meaning"))
                ),
            )
        )
    if not masks:
        return None
    # A row without a value passes no bound on it.
    return pc.fill_null(reduce(pc.and_, masks), False)


def _has_one_of(scalars: Scalars, name: str, values: pa.Array) -> pa.Array:
    """Which neurons have one of the values in their list of that name."""
    lists = scalars.peaks[name].combine_chunks()
    hits = pc.is_in(pc.list_flatten(lists), value_set=values)
    rows = pc.unique(pc.list_parent_indices(lists).filter(hits))
    return pc.is_in(scalars.numbers, value_set=rows.cast(pa.int64()))


def _read_ranges(args: Mapping[str, Any], name: str, wrong: list[Detail]) -> tuple[int, ...] | None:
    text = args.get(name)
    if text is None:
        return None
    ends = parse_ranges(text) if text.isascii() and len(text) <= 2000 else None
    if ends is None:
        wrong.append(Detail(f"/{name}", f"{name}={text[:60]!r}: use ranges such as 0-3,14"))
    elif any(last < first for first, last in zip(ends[::2], ends[1::2], strict=True)):
        wrong.append(Detail(f"/{name}", f"{name}={text[:60]}: a range ascends"))
    return ends


def _read_sort(
    text: str | None, listed: Sequence[str], wrong: list[Detail]
) -> tuple[tuple[str, str], ...]:
    keys = tuple(
        (key.removeprefix("-"), "descending" if key.startswith("-") else "ascending")
        for key in (text.split(",") if text is not None else [])
    )
    for name, _ in keys:
        if name not in listed:
            wrong.append(
                Detail("/sort", f"sort by {name[:60]!r}: the columns are {', '.join(listed)}")
            )
    if len(dict(keys)) < len(keys):
        wrong.append(Detail("/sort", "sort names a column twice"))
    return keys


def _read_columns(
    text: str | None, listed: tuple[str, ...], wrong: list[Detail]
) -> tuple[str, ...]:
    if text is None:
        return listed
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in listed:
            wrong.append(
                Detail("/fields", f"fields has {name[:60]!r}: the columns are {', '.join(listed)}")
            )
    return names
