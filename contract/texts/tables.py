"""Documents in a column of a table: CSV and TSV, read as they come, and Parquet."""

from __future__ import annotations

import csv
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from polyseme.contract.errors import InvalidCorpus, TooLarge, UnsupportedMedia
from polyseme.contract.texts.formats import FORMAT_NAMES, LONGEST_DOCUMENT, BadLine, Format, Reading
from polyseme.contract.texts.json_texts import name_fields
from polyseme.contract.texts.languages import add_language
from polyseme.contract.texts.lines import decode_line, too_long
from polyseme.contract.texts.parquet_pages import Damaged, read_page_sizes

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_DELIMITERS: Final = {"csv": ",;\t", "tsv": "\t"}
_ROWS: Final = 256  # in memory at once
_LARGEST_PAGE: Final = 256 << 20  # bytes of a page of Parquet, unpacked


def read_table(lines: Iterable[bytes], reading: Reading, kind: Format) -> Iterator[str | BadLine]:
    """The column `reading.field` of CSV or TSV, whose first row has the names; quoted as RFC 4180
    has it, TSV too. Blank rows are none.

    lines: with their ends. Raises InvalidCorpus when no field is asked for, there is no such
    column, or a quote is not closed.
    """
    # Of the whole process; every table is read with the same.
    csv.field_size_limit(LONGEST_DOCUMENT)
    rows = _Rows(lines)
    first = rows.peek()
    delimiters = _DELIMITERS[kind]
    delimiter = next((d for d in delimiters if reading.field in _names(first, d)), delimiters[0])
    reader = csv.reader(rows, delimiter=delimiter, strict=True)
    names = _next_row(reader, rows) or []
    take = _row_taker(names, reading, kind)
    index = 0
    while (row := _next_row(reader, rows)) is not None:
        if row:
            is_whole = len(row) == len(names)
            yield take(row, rows.line, index) if is_whole else _odd(row, names, rows.line, index)
        index += 1


def _row_taker(
    names: list[str], reading: Reading, kind: Format
) -> Callable[[list[str], int, int], str | BadLine]:
    """What takes a row's document out of it; line and index of the row, for what is said of it."""
    if reading.field is None:
        raise InvalidCorpus(
            f"{FORMAT_NAMES[kind]} needs the field that has the text, `?field=…` or `--field …`; "
            f"{name_fields(names)}",
            pointer="/field",
        )
    text = _find_column(names, reading.field, kind, "/field")
    if (field := reading.language_field) is None:
        return lambda row, line, index: row[text]
    language = _find_column(names, field, kind, "/language_field")
    return lambda row, line, index: add_language(
        row[text], row[language], index, f"line {line}", field
    )


def _find_column(names: list[str], field: str, kind: Format, pointer: str) -> int:
    if names.count(field) != 1:
        how = "no field" if field not in names else "more than one field"
        raise InvalidCorpus(
            f"the {FORMAT_NAMES[kind]} has {how} {field!r}; {name_fields(names)}", pointer=pointer
        )
    return names.index(field)


def _odd(row: list[str], names: list[str], line: int, index: int) -> BadLine:
    return BadLine(index, f"line {line} has {len(row)} fields, the first has {len(names)}")


def _names(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _next_row(reader: Any, rows: _Rows) -> list[str] | None:
    rows.held = 0
    try:
        row: list[str] | None = next(reader, None)
    except csv.Error as e:
        if "field larger" in str(e):
            raise too_long() from e
        raise InvalidCorpus(
            f"line {rows.line}: {e}. Fields with quotes, delimiters or line ends stand in quotes",
            pointer=f"/{max(rows.line - 1, 0)}",
        ) from e
    return row


class _Rows:
    """Lines as texts, counted; `held` is what the row that is read has so far."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.line = 0
        self.held = 0

    def peek(self) -> str:
        first = next(self._lines, b"")
        self._lines = itertools.chain([first] if first else [], self._lines)
        return first.decode("utf-8", "replace")

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.line += 1
        self.held += len(line)
        if self.held > LONGEST_DOCUMENT:
            raise too_long()
        text = decode_line(line, self.line - 1)
        if isinstance(text, BadLine):
            # What is left of its row is not known.
            raise InvalidCorpus(text.why, pointer=f"/{text.index}")
        return text


def read_parquet(chunks: Iterable[bytes], reading: Reading) -> Iterator[str | BadLine]:
    """The column `reading.text_field`, and that of the language beside it, a group of rows after
    the other.

    It is read from its end, so the whole is copied to a file first. Raises InvalidCorpus, TooLarge.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as e:
        raise UnsupportedMedia("Parquet is read with pyarrow: pip install 'polyseme[arrow]'") from e
    with tempfile.TemporaryFile(dir=reading.folder) as copy:
        for chunk in chunks:
            copy.write(chunk)
        try:
            yield from _read_columns(copy, pq, reading)
        except (pa.ArrowException, OSError) as e:
            raise InvalidCorpus(f"the Parquet file is damaged: {e}", pointer="") from e


def _read_columns(file: IO[bytes], parquet: Any, reading: Reading) -> Iterator[str | BadLine]:
    fields = {"/field": reading.text_field}
    if reading.language_field is not None:
        fields["/language_field"] = reading.language_field
    opened: pq.ParquetFile = parquet.ParquetFile(file)
    for pointer, field in fields.items():
        _check_column(opened, field, pointer, reading.max_bytes)
        _check_pages(file, opened, field)
    # As dictionaries, so that one long text of many rows is there once.
    file.seek(0)
    columns = list(fields.values())
    opened = parquet.ParquetFile(file, metadata=opened.metadata, read_dictionary=columns)
    index = size = 0
    for batch in opened.iter_batches(_ROWS, columns=columns, use_threads=False):
        for values in zip(*map(batch.column, columns), strict=True):
            text, *languages = (value.as_py() for value in values)
            size += sum(len(said or "") for said in (text, *languages))
            _check_size(text or "", size, reading.max_bytes)
            yield _take_row(text, languages, index, opened, reading)
            index += 1


def _take_row(
    text: str | None,
    languages: list[str | None],
    index: int,
    opened: pq.ParquetFile,
    reading: Reading,
) -> str | BadLine:
    """languages: the row's one, where a field is asked for that names it."""
    if text is None:
        return _null_row(index, reading.text_field, opened)
    if reading.language_field is None:
        return text
    return add_language(text, languages[0], index, f"row {index + 1}", reading.language_field)


def _check_size(text: str, size: int, most: int) -> None:
    if len(text) > LONGEST_DOCUMENT:
        raise too_long()
    if size > most:
        raise TooLarge(f"the corpus has more than {most} bytes unpacked")


def _check_pages(file: IO[bytes], opened: pq.ParquetFile, field: str) -> None:
    """Raises TooLarge for a page that takes too much memory, InvalidCorpus for none."""
    for chunk in _chunks(opened, field):
        start = chunk.data_page_offset
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            start = min(start, chunk.dictionary_page_offset)
        try:
            for size in read_page_sizes(file, start, start + chunk.total_compressed_size):
                if size > _LARGEST_PAGE:
                    raise TooLarge(f"a page of {size} bytes, at most {_LARGEST_PAGE} are taken")
        except Damaged as e:
            raise InvalidCorpus(f"the Parquet file is damaged: {e}", pointer="") from e


def _null_row(index: int, field: str, opened: pq.ParquetFile) -> BadLine:
    names = name_fields(opened.schema_arrow.names)
    return BadLine(index, f"row {index + 1}: the field {field!r} is null; {names}")


def _check_column(opened: pq.ParquetFile, field: str, pointer: str, most: int) -> None:
    """Raises TooLarge for one of more than `most` bytes unpacked, InvalidCorpus for none."""
    import pyarrow.types as kinds

    names = opened.schema_arrow.names
    if names.count(field) != 1:
        raise InvalidCorpus(
            f"the Parquet file has no field {field!r}; {name_fields(names)}", pointer=pointer
        )
    kind = opened.schema_arrow.field(field).type
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    if not (kinds.is_string(kind) or kinds.is_large_string(kind)):
        raise InvalidCorpus(
            f"the field {field!r} of the Parquet file is {kind}, not a string", pointer=pointer
        )
    size = sum(chunk.total_uncompressed_size for chunk in _chunks(opened, field))
    if size > most:
        raise TooLarge(f"the field {field!r} has {size} bytes unpacked, at most {most}")


def _chunks(opened: pq.ParquetFile, field: str) -> Iterator[Any]:
    """Of the column, one a row group."""
    groups = (opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups))
    columns = (group.column(i) for group in groups for i in range(group.num_columns))
    return (column for column in columns if column.path_in_schema == field)
