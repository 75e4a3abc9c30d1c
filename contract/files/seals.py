"""Whether a result is what was written: the size and the SHA-256 of each of its files, which its
manifest has, and of the manifest itself.

Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol, cast

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.results import FORMAT, MANIFEST
from polyseme.contract.files.store import Store

_PIECE = 1 << 20
_MISSING = "it is not there"
_FILES = "files"  # of a manifest: the seals of the others
_SEAL = "seal"  # of a manifest: the SHA-256 of what it says without this line


@dataclass(frozen=True)
class Seal:
    bytes: int
    sha256: str


class Writes(Protocol):
    """A store, or a folder of one."""

    def writing(self, path: str) -> AbstractContextManager[IO[bytes]]: ...


class OtherFormat(ValueError):
    """A manifest of another version's results, which may not even be sealed."""

    def __init__(self, found: int) -> None:
        super().__init__(f"of format {found}; this version reads {FORMAT}")


class SealedFolder:
    """The folder of a result that is being written: it notes the seal of each file."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = folder
        self.seals: dict[str, Seal] = {}

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        with self._store.writing(f"{self._folder}/{name}") as f:
            hashed = HashedFile(f)
            yield cast(IO[bytes], hashed)
            seal = hashed.seal()
        self.seals[name] = seal

    def write(self, name: str, content: bytes) -> None:
        with self.writing(name) as f:
            f.write(content)

    def take(self, folder: str, name: str, seal: Seal) -> None:
        """Takes a file over from another folder. Raises DamagedFile when it is not as sealed."""
        check_file(self._store, f"{folder}/{name}", seal)
        self._store.copy(f"{folder}/{name}", f"{self._folder}/{name}")
        self.seals[name] = seal


class HashedFile(io.RawIOBase):
    """Hashes what is written. Only what was overwritten later is read again."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self._hashed = 0  # bytes
        self._is_overwritten = False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        if self._file.tell() == self._hashed:
            self._hash.update(content)
            self._hashed += len(content)
        else:
            self._is_overwritten = True
        return self._file.write(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The file is closed by who opened it."""

    def seal(self) -> Seal:
        if not self._is_overwritten:
            return Seal(self._hashed, self._hash.hexdigest())
        self._file.flush()
        with open(self._file.name, "rb") as f:
            return seal_stream(f)


def seal_stream(file: IO[bytes]) -> Seal:
    """Of what is left to read."""
    found, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        found.update(piece)
        size += len(piece)
    return Seal(size, found.hexdigest())


def check_file(store: Store, path: str, seal: Seal) -> None:
    """Reads a whole file. Raises DamagedFile when it is not as sealed."""
    try:
        with store.open(path) as f:
            found = seal_stream(f)
    except FileNotFoundError as e:
        raise DamagedFile(f"{path} is not there", path=path) from e
    if found != seal:
        raise DamagedFile(f"{path} is damaged: {describe_difference(found, seal)}", path=path)


def describe_difference(found: Seal, seal: Seal) -> str:
    if found.bytes != seal.bytes:
        return f"it has {found.bytes} bytes, not {seal.bytes}"
    return "its SHA-256 is not the one that was noted when it was written"


def check_sizes(store: Store, folder: str, seals: Mapping[str, Seal]) -> None:
    """Raises DamagedFile for the first file that is not there or has another size."""
    for name, trouble in find_wrong_sizes(store, folder, seals).items():
        path = f"{folder}/{name}"
        raise DamagedFile(f"{path} is damaged: {trouble}", path=path)


def find_wrong_sizes(store: Store, folder: str, seals: Mapping[str, Seal]) -> dict[str, str]:
    """What is wrong with each file that is not there or has another size. Reads none."""
    sizes = store.file_sizes(folder)
    return {
        name: f"it has {sizes[name]} bytes, not {seal.bytes}" if name in sizes else _MISSING
        for name, seal in seals.items()
        if sizes.get(name) != seal.bytes
    }


def find_damage(store: Store, folder: str, seals: Mapping[str, Seal]) -> dict[str, str]:
    """What is wrong with each damaged file. Reads all."""
    return _find_damage(store, folder, seals, set(seals))


def find_late_damage(store: Store, folder: str, seals: Mapping[str, Seal]) -> dict[str, str]:
    """What is wrong with each damaged file, as far as it is seen without reading those that were
    written before the manifest, which is the last to be.
    """
    return _find_damage(store, folder, seals, store.names_since(folder, MANIFEST))


def _find_damage(
    store: Store, folder: str, seals: Mapping[str, Seal], read: Set[str]
) -> dict[str, str]:
    found = find_wrong_sizes(store, folder, seals)
    for name in (seals.keys() & read) - found.keys():
        with store.open(f"{folder}/{name}") as f:
            seal = seal_stream(f)
        if seal != seals[name]:
            found[name] = describe_difference(seal, seals[name])
    return dict(sorted(found.items()))


def format_manifest(content: Mapping[str, Any], seals: Mapping[str, Seal]) -> bytes:
    """With the seals of all other files of the result, and its own."""
    files = {name: asdict(seal) for name, seal in seals.items()}
    whole = {**content, _FILES: files}
    return _dump(whole | {_SEAL: hashlib.sha256(_dump(whole)).hexdigest()})


def parse_manifest(raw: bytes) -> dict[str, Any]:
    """As it was given to `format_manifest`, with `files`. Raises ValueError unless each byte is as
    it was written; OtherFormat.
    """
    manifest: dict[str, Any] = json.loads(raw)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is int and found != FORMAT:
        raise OtherFormat(found)
    if not isinstance(manifest, dict) or _dump(manifest) != raw:
        raise ValueError("it is not as it was written")
    seal = manifest.pop(_SEAL, None)
    if seal != hashlib.sha256(_dump(manifest)).hexdigest():
        raise ValueError("what it says is not what was written")
    return manifest


def seals_of(manifest: Mapping[str, Any]) -> dict[str, Seal]:
    """Of all files of a result but its manifest."""
    return {name: Seal(**seal) for name, seal in manifest[_FILES].items()}


def _dump(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


def find_result_damage(store: Store, folder: str) -> dict[str, str]:
    """What is wrong with each damaged file of a result. Reads all."""
    path = f"{folder}/{MANIFEST}"
    try:
        seals = seals_of(parse_manifest(store.read(path)))
    except FileNotFoundError:
        return {MANIFEST: _MISSING}
    except (ValueError, KeyError, TypeError) as e:
        return {MANIFEST: str(e)}
    return find_damage(store, folder, seals)
