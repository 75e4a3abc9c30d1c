from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.columns import LISTED
from polyseme.service.results.scalars import Scalars, read_scalars

WAYS = ("ascending", "descending")


def make_scalars(rows: int = 400) -> Scalars:
    """Of neurons with many ties, some without a value."""
    rng = random.Random(1)
    draw: dict[str, Callable[[], Any]] = {
        "mean": lambda: rng.choice([None, *[n / 8 for n in range(-40, 40)]]),
        "sense_count": lambda: rng.choice([None, 1, 2, 3]),
        "peak_token": lambda: rng.choice([None, "", "a", "B", "b", "ß", " the"]),
        "coverage": lambda: None,
    }
    columns = {name: [one() for _ in range(rows)] for name, one in draw.items()}
    types = {"coverage": pa.float64()}
    places = {"layer": [n // 50 for n in range(rows)], "neuron": [n % 50 for n in range(rows)]}
    table = pa.table(
        places | {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    )
    return Scalars(table, lambda: pa.nulls(rows, pa.list_(pa.int32())))


def sort_slowly(scalars: Scalars, sort: Sequence[tuple[str, str]]) -> list[int]:
    """By the last column first, as each sort keeps the order of the one before."""
    found = list(range(len(scalars.table)))
    for name, way in reversed(sort):
        values = [v.encode() if isinstance(v, str) else v for v in scalars.table[name].to_pylist()]
        known = [n for n in found if values[n] is not None]
        known.sort(key=values.__getitem__, reverse=way == "descending")
        found = known + [n for n in found if values[n] is None]
    return found


ORDERS: list[list[tuple[str, str]]] = [
    [],
    *(
        [(name, way)]
        for name in ("mean", "sense_count", "peak_token", "coverage", "neuron")
        for way in WAYS
    ),
    *([("sense_count", way), ("mean", "descending")] for way in WAYS),
]


@pytest.mark.parametrize("sort", ORDERS, ids=str)
@pytest.mark.parametrize("most", [7, 100, 10_000])
def test_an_order_is_stable_with_nulls_last_whole_or_not(
    sort: list[tuple[str, str]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyseme.service.results.scalars.HEAD_ROWS", most)
    scalars = make_scalars()
    wanted = sort_slowly(scalars, sort)
    mask = pa.array([n % 3 > 0 for n in range(len(wanted))])

    assert scalars.order(sort).to_pylist() == wanted
    for rows in (1, 7, 8, 100, 399, 400, 1000):
        first = scalars.first(sort, rows).to_pylist()
        masked = scalars.first(sort, rows, mask).to_pylist()
        assert len(first) >= min(rows, 400)
        assert first == wanted[: len(first)]
        assert masked[:rows] == [n for n in wanted if n % 3 > 0][:rows]


def test_a_result_of_before_a_column_has_it_without_values(tmp_path: Path) -> None:
    path = tmp_path / "neurons.parquet"
    row = {"layer": 1, "neuron": 2, "hook": "blocks.1.mlp.hook_post", "density": 0.5}
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), path)

    table = read_scalars(lambda: nullcontext(str(path))).table

    assert tuple(table.column_names) == LISTED
    assert table.to_pylist()[0]["density"] == 0.5
    assert table.column("decoder_norm").null_count == 1
