"""How large the pages of a Parquet column are, as the page headers say: pyarrow unpacks a page
whole, whatever its header asks for.

Thrift's compact protocol, as far as headers of pages need it. Source: Apache Parquet,
`parquet.thrift`, PageHeader; Apache Thrift, thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

_UNPACKED_SIZE: Final = 2  # fields of PageHeader
_PACKED_SIZE: Final = 3
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(
    13
)
_DEEPEST: Final = 8


class Damaged(Exception):
    """What should be a page's header is none."""


def read_page_sizes(file: IO[bytes], start: int, end: int) -> Iterator[int]:
    """Bytes of each page as it is unpacked, of a column chunk that lies from `start` to `end`.

    Raises Damaged.
    """
    at = start
    while at < end:
        file.seek(at)
        unpacked, packed = _read_header(file)
        yield unpacked
        at = file.tell() + packed


def _read_header(file: IO[bytes]) -> tuple[int, int]:
    sizes = {}
    for number, kind in _fields(file):
        if number in (_UNPACKED_SIZE, _PACKED_SIZE) and kind == _I32:
            sizes[number] = _integer(file)
        else:
            _skip(file, kind, 0)
    unpacked, packed = sizes.get(_UNPACKED_SIZE, -1), sizes.get(_PACKED_SIZE, -1)
    if unpacked < 0 or packed < 0:
        raise Damaged("a page without a size")
    return unpacked, packed


def _fields(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """The number and type of each field of a struct; whoever is given one reads its value."""
    number = 0
    while (head := _take(file, 1)[0]) != _STOP:
        number = number + (head >> 4) if head >> 4 else _integer(file)
        yield number, head & 15


def _skip(file: IO[bytes], kind: int, depth: int) -> None:
    if depth > _DEEPEST:
        raise Damaged("a header that is too deep")
    if kind in (_I16, _I32, _I64):
        _integer(file)
    elif kind in (_BYTE, _DOUBLE):
        _take(file, 1 if kind == _BYTE else 8)
    elif kind == _BINARY:
        _pass(file, _varint(file))
    elif kind in (_LIST, _SET):
        _skip_list(file, depth)
    elif kind == _STRUCT:
        for _, inner in _fields(file):
            _skip(file, inner, depth + 1)
    elif kind not in (_TRUE, _FALSE):
        raise Damaged(f"a field of the type {kind}")


def _skip_list(file: IO[bytes], depth: int) -> None:
    head = _take(file, 1)[0]
    for _ in range(_varint(file) if head >> 4 == 15 else head >> 4):
        kind = head & 15
        _skip(file, _BYTE if kind in (_TRUE, _FALSE) else kind, depth + 1)


def _integer(file: IO[bytes]) -> int:
    value = _varint(file)
    return (value >> 1) ^ -(value & 1)


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _take(file, 1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise Damaged("a number that does not end")


def _pass(file: IO[bytes], size: int) -> None:
    file.seek(size, 1)


def _take(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise Damaged("a header that ends early")
    return data
