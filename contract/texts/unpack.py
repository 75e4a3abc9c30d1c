"""gzip and zstd as streams, in pieces of bounded size whatever the ratio.

gzip is read as gzip(1) reads it: member after member; zeros behind the last one are nothing, and
other bytes there are left out with a warning.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from polyseme.contract.errors import MalformedRequest, TooLarge, UnsupportedMedia
from polyseme.contract.texts.formats import Notes, Packing

CHUNK: Final = 1 << 16
_GZIP: Final = b"\x1f\x8b"
_FEW_MEMBERS: Final = 1000  # as many may have anything or nothing in them,
_MEMBER_BYTES: Final = 256  # all others so much on the average


def unpack(chunks: Iterable[bytes], packing: Packing, notes: Notes) -> Iterator[bytes]:
    """Raises MalformedRequest where the data is damaged or ends early."""
    return _unpack_gzip(iter(chunks), notes) if packing == "gzip" else _unpack_zstd(iter(chunks))


def _unpack_gzip(source: Iterator[bytes], notes: Notes) -> Iterator[bytes]:
    data, members, size = b"", 0, 0
    while data := _at_least_two(data, source):
        if members and not _GZIP.startswith(data[: len(_GZIP)]):
            _leave_out(data, source, notes)
            return
        member = _unpack_member(data, source)
        while True:
            try:
                piece = next(member)
            except StopIteration as e:
                data = e.value
                break
            size += len(piece)
            yield piece
        members += 1
        if members > _FEW_MEMBERS + size // _MEMBER_BYTES:
            raise TooLarge(f"the gzip data has {members} members with next to nothing in them")


def _unpack_member(data: bytes, source: Iterator[bytes]) -> Any:
    """Yields what is in the member that `data` begins with; returns the bytes behind it."""
    decoder = zlib.decompressobj(31)
    try:
        while not decoder.eof:
            data = data or next(source, b"")
            piece = decoder.decompress(data, CHUNK) if data else decoder.flush()
            if piece:
                yield piece
            if not data and not decoder.eof:
                raise MalformedRequest("the gzip data ends early")
            data = decoder.unconsumed_tail
    except zlib.error as e:
        raise MalformedRequest(f"the gzip data is damaged: {e}") from e
    return decoder.unused_data


def _at_least_two(data: bytes, source: Iterator[bytes]) -> bytes:
    """As many bytes as tell a member's beginning, unless there are no more."""
    while len(data) < len(_GZIP) and (chunk := next(source, b"")):
        data += chunk
    return data


def _leave_out(data: bytes, source: Iterator[bytes], notes: Notes) -> None:
    size, zeros = 0, True
    while data:
        size += len(data)
        zeros = zeros and not data.strip(b"\0")
        data = next(source, b"")
    if not zeros:
        notes.warnings.append(f"{size:,} bytes behind the gzip data are no gzip and were left out")


class _Source(io.RawIOBase):
    """Chunks as a file that pyarrow reads."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._rest or next(self._source, b"")
        self._rest = data[size:]
        return data[:size]


def _unpack_zstd(source: Iterator[bytes]) -> Iterator[bytes]:
    """A frame may ask for a window of at most 128 MiB, the library's own limit."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as e:
        raise UnsupportedMedia("zstd is read with pyarrow: pip install 'polyseme[arrow]'") from e
    stream = pa.CompressedInputStream(pa.PythonFile(_Source(source), mode="r"), "zstd")
    while True:
        try:
            piece = stream.read(CHUNK)
        except (pa.ArrowInvalid, OSError) as e:
            raise MalformedRequest(f"the zstd data is damaged: {e}") from e
        if not piece:
            return
        yield piece
