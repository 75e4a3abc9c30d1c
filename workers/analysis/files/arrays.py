"""A partial: what one shard's scan kept, in one file.

Written whole or not at all; a damaged one is noticed.
"""

from __future__ import annotations

import errno
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.seals import Writes
from polyseme.contract.files.store import Store

# What `zipfile` lets out of a damaged file; RuntimeError when it looks encrypted.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
)

Named = tuple[str, np.ndarray]


def partial_file(folder: str, shard: int) -> str:
    return f"{folder}/partials/{shard:06d}.npz"


def write_arrays(
    store: Writes, path: str, arrays: Mapping[str, np.ndarray] | Iterable[Named]
) -> None:
    """The arrays under their names, each as one member of an uncompressed zip, with its checksum.

    Where they are made one after another, only one is in memory.
    """
    with store.writing(path) as f, zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items() if isinstance(arrays, Mapping) else arrays:
            write_member(archive, name, array)
        seal(archive)


def write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def seal(archive: zipfile.ZipFile) -> None:
    """Notes which members there are: their own checksums do not tell that one is missing or has
    another name.
    """
    archive.comment = _names_checksum(archive)


def _names_checksum(archive: zipfile.ZipFile) -> bytes:
    return b"%08x" % zlib.crc32("\n".join(archive.namelist()).encode())


def read_arrays(store: Store, path: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, without it.

    Reads no others. Raises DamagedFile.
    """
    with reading_arrays(store, path) as file:
        return {
            name.removeprefix(prefix): file(name) for name in file.names if name.startswith(prefix)
        }


@dataclass(frozen=True)
class ArrayFile:
    """An open file of arrays. Called with a name it reads that array."""

    names: tuple[str, ...]
    read: Callable[[str], np.ndarray]

    def __call__(self, name: str) -> np.ndarray:
        return self.read(name)


@contextmanager
def reading_arrays(store: Store, path: str) -> Iterator[ArrayFile]:
    """Raises DamagedFile, when it is opened and for each array that is not whole, or when it is not
    there.
    """
    try:
        with store.open(path) as f, zipfile.ZipFile(f) as archive:
            # Files of earlier versions have no such note.
            if archive.comment and archive.comment != _names_checksum(archive):
                raise zipfile.BadZipFile("its list of arrays is not the one that was written")
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            yield ArrayFile(tuple(members), lambda name: _read_member(archive, members[name]))
    except FileNotFoundError as e:
        raise missing(path) from e
    except (*_DAMAGES, KeyError) as e:
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e
    except OSError as e:
        # A place that cannot be sought or a stream that cannot be unpacked, and no trouble with the
        # disk.
        if e.errno not in (None, errno.EINVAL):
            raise
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e


def pack_texts(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Texts as arrays of a file: their UTF-8 bytes, (B,) uint8, and where each begins and the last
    ends, (n + 1,) int64.
    """
    encoded = [text.encode() for text in texts.to_pylist()]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def unpack_texts(content: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """(n,) large_string."""
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(content.tobytes())]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def missing(path: str) -> DamagedFile:
    return DamagedFile(f"{path} is not there", path=path)


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Read to the end, where the checksum is compared, before anything in it is believed.
    content = archive.read(name)
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
