"""The exported Parquet table as Arrow, pandas or polars.

Each library is asked for only when it is needed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from polyseme.problems import ClientError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class MissingExtra(ClientError):
    """A library of an extra is not installed."""


def read_arrow(parquet: bytes) -> pyarrow.Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise _missing("arrow") from e
    return pyarrow.parquet.read_table(pyarrow.BufferReader(parquet))


def read_pandas(parquet: bytes) -> pandas.DataFrame:
    table: Any = read_arrow(parquet)
    try:
        import pandas
    except ImportError as e:
        raise _missing("pandas") from e
    assert pandas
    return table.to_pandas()


def read_polars(parquet: bytes) -> polars.DataFrame:
    try:
        import polars
    except ImportError as e:
        raise _missing("polars") from e
    return polars.read_parquet(io.BytesIO(parquet))


def _missing(extra: str) -> MissingExtra:
    return MissingExtra(f"This needs {extra}: pip install 'polyseme[{extra}]'")
