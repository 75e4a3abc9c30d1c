"""The store: files under one fsspec URL, whole or not there at all, and where each lies.

Of a remote store nothing is remembered, since other processes write to it too. What its library
raises comes out as OSError. A store that was opened as a certain one writes nothing, deletes
nothing and misses nothing unless it is that one: see `identity`.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from polyseme.contract.files.identity import IDENTITY_FILE, Guard, Identity, StoreError
from polyseme.contract.names import DEFAULT_TENANT

_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}  # keys with slashes in them, no folders
_DELETE_TRIES = 5
_PIECE = 1 << 22
_BELIEVED_S = 5.0  # that a remote store is the one that is meant; here a look costs next to nothing


class Store:
    """Thread-safe.

    Paths are relative to the URL, with forward slashes. A file appears by rename, or by one PUT.
    """

    def __init__(self, url: str, identity: Identity | None = None) -> None:
        """identity: which store it is to be; None for whatever lies there."""
        self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = self._root.rstrip("/")
        self.url = url
        # by this object, for metrics; two threads that end at once may count as one
        self.written_bytes = 0
        self._guard = (
            Guard(
                identity,
                self._read_identity,
                self._create_identity,
                believed_s=0.0 if self.is_local else _BELIEVED_S,
            )
            if identity
            else None
        )

    def check(self) -> None:
        """Raises StoreAway unless this is the store that it is to be."""
        if self._guard is not None:
            self._guard.check()

    def _read_identity(self) -> bytes | None:
        try:
            if self.is_local:
                with open(self._path(IDENTITY_FILE), "rb") as f:
                    return f.read()
            with self._translated():
                return bytes(self._fs.cat_file(self._path(IDENTITY_FILE)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _create_identity(self, content: bytes) -> None:
        final = self._path(IDENTITY_FILE)
        if not self.is_local:
            with self._translated():
                if not self._has_objects:
                    self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(final, content)
            return
        with suppress(FileExistsError), self._temporary(final) as temporary:
            with open(temporary, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            os.link(temporary, final)

    @contextmanager
    def _temporary(self, final: str) -> Iterator[str]:
        """A name beside a file for what is to become it; nothing is left there."""
        os.makedirs(os.path.dirname(final), exist_ok=True)
        temporary = f"{final}.{secrets.token_hex(6)}.tmp"
        try:
            yield temporary
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    @property
    def is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    @property
    def _has_objects(self) -> bool:
        return bool(_OBJECTS & set(_protocols(self._fs)))

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def local_path(self, path: str) -> str:
        """The file's path on this machine. Only for a local store."""
        if not self.is_local:
            raise ValueError(f"{self.url} is not a local folder")
        return self._path(path)

    def writing(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A file to write, that appears under `path` when the block ends well and leaves nothing
        behind otherwise.
        """
        self.check()
        return self._writing_here(path) if self.is_local else self._writing_away(path)

    @contextmanager
    def _writing_here(self, path: str) -> Iterator[IO[bytes]]:
        final = self._path(path)
        with self._temporary(final) as temporary:
            with open(temporary, "wb") as f:
                yield f
                self.written_bytes += f.tell()
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, final)

    @contextmanager
    def _writing_away(self, path: str) -> Iterator[IO[bytes]]:
        """By way of a temporary file here: what writes it may seek, so its bytes are those that a
        folder would get.
        """
        final = self._path(path)
        with tempfile.NamedTemporaryFile(prefix="polyseme-") as f:
            yield cast(IO[bytes], f)
            f.flush()
            self.written_bytes += f.tell()
            with self._translated():
                if not self._has_objects:
                    self._fs.makedirs(final.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(f.name, final)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raises FileNotFoundError and its like as they are, and what else a remote store's library
        has as OSError.
        """
        try:
            yield
        except OSError:
            raise
        except Exception as e:
            raise StoreError(f"{self.url}: {type(e).__name__}: {e}") from e

    @contextmanager
    def _missing_nothing(self) -> Iterator[None]:
        """What is not there is missed only in the store that is meant. Raises StoreAway."""
        try:
            yield
        except FileNotFoundError:
            self.check()
            raise

    def write(self, path: str, content: bytes) -> None:
        with self.writing(path) as f:
            f.write(content)

    def copy(self, path: str, target: str) -> None:
        """Puts a file under a second path too: without a byte moved where the store can do that.

        Here the two are one file on disk, as files are replaced but never changed. Raises
        FileNotFoundError.
        """
        self.check()
        if self.is_local:
            if self._link(self._path(path), self._path(target)):
                return
        elif self._has_objects:
            with self._missing_nothing(), self._translated():
                self._fs.cp_file(self._path(path), self._path(target))
            return
        with self.open(path) as old, self.writing(target) as new:
            shutil.copyfileobj(old, new, _PIECE)

    def _link(self, source: str, target: str) -> bool:
        """False where files cannot have two names."""
        # Onto another name of the same file a rename does nothing, and the temporary name stays.
        with self._temporary(target) as temporary:
            try:
                os.link(source, temporary)
            except FileNotFoundError:
                raise
            except OSError:
                return False
            os.replace(temporary, target)
        return True

    def open(self, path: str) -> IO[bytes]:
        """A seekable file to read. Raises FileNotFoundError."""
        with self._missing_nothing():
            if self.is_local:
                return open(self._path(path), "rb")
            with self._translated():
                file = self._fs.open(self._path(path), "rb")
        return cast(IO[bytes], _RemoteFile(file, self._translated))

    def read(self, path: str) -> bytes:
        with self._missing_nothing(), self._translated():
            return bytes(self._fs.cat_file(self._path(path)))

    def exists(self, path: str) -> bool:
        with self._translated():
            is_there = bool(self._fs.exists(self._path(path)))
        if not is_there:
            self.check()
        return is_there

    def size(self, path: str) -> int:
        with self._missing_nothing(), self._translated():
            return int(self._fs.size(self._path(path)))

    def file_sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each file in a folder, and in those in it, by its path there; none when it
        is not there.
        """
        root, listed = self._path(folder), self._find(folder)
        if not listed:
            self.check()
        return {p.removeprefix(f"{root}/"): int(info["size"]) for p, info in listed.items()}

    def folder_size(self, path: str) -> int:
        """Bytes of all files in a folder, and in those in it; 0 when it is not there."""
        return sum(self.file_sizes(path).values())

    def measure(self, path: str) -> tuple[int, float]:
        """Of a file, or of all files in a folder and in those in it: their bytes, and when the last
        of them was written, in seconds since the epoch; 0 for none.
        """
        listed = self._find(path)
        times = [self._modified(*found) for found in listed.items()]
        return sum(int(info["size"]) for info in listed.values()), max(times, default=0.0)

    def names_since(self, folder: str, name: str) -> set[str]:
        """The files in a folder, and in those in it, that were written no earlier than one of them,
        which is not among them; all when that one is not there.
        """
        root = self._path(folder)
        times = {
            path.removeprefix(f"{root}/"): self._modified(path, info)
            for path, info in self._find(folder).items()
        }
        since = times.pop(name, 0.0)
        return {path for path, written in times.items() if written >= since}

    def _modified(self, path: str, info: Mapping[str, Any]) -> float:
        """In seconds since the epoch. Asked for anew where the listing does not say it."""
        found = info.get("mtime", info.get("LastModified"))
        if found is None:
            with self._translated():
                found = self._fs.modified(path)
        return float(found) if isinstance(found, int | float) else float(found.timestamp())

    def _find(self, path: str) -> dict[str, Any]:
        """What the library says of each file in a folder and in those in it, or of one file."""
        # object storage: other processes have written since it was listed
        self._fs.invalidate_cache()
        with self._translated():
            listed: dict[str, Any] = self._fs.find(self._path(path), detail=True)
        return listed

    def list_unfinished(self, folder: str = "") -> list[str]:
        """What writers that were killed left anywhere in a folder of a store of this machine."""
        here = Path(self._path(folder)).rglob("*.tmp") if self.is_local else ()
        return [path.relative_to(self._root).as_posix() for path in sorted(here)]

    def names(self, folder: str) -> list[str]:
        """The names directly in a folder, sorted, without unfinished ones; none when it is not
        there.
        """
        with self._translated():
            try:
                listed: list[Any] = self._fs.ls(self._path(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                self.check()
                return []
        return sorted(
            n
            for n in (str(p).rstrip("/").rpartition("/")[2] for p in listed)
            if not n.endswith(".tmp")
        )

    def delete(self, path: str) -> None:
        """Removes a file or a folder with all it holds; one that is not there is no error."""
        self.check()
        tries = 0
        while tries < _DELETE_TRIES:
            try:
                with self._translated():
                    if self._fs.exists(self._path(path)):
                        self._fs.rm(self._path(path), recursive=True)
                return
            except OSError as e:
                # Another process removes the same, of which less is left each time, or writes into
                # the folder.
                is_gone = isinstance(
                    e, FileNotFoundError
                )  # which has no number when it is of a bucket
                tries += not (is_gone and self.is_local)
                if not (is_gone or e.errno == errno.ENOTEMPTY) or tries == _DELETE_TRIES:
                    raise

    def delete_unfinished(self, folder: str) -> None:
        """Removes what writers that were killed left anywhere in a folder.

        One that still writes there fails.
        """
        self.check()
        for path in self.list_unfinished(folder):
            Path(self._path(path)).unlink(missing_ok=True)


class _RemoteFile(io.RawIOBase):
    """A file of a remote store that is read piece by piece: each may fail, as opening it may."""

    def __init__(self, file: Any, translated: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._file = file
        self._translated = translated

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        with self._translated():
            return bytes(self._file.read(-1 if size is None else size))

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _protocols(filesystem: Any) -> tuple[str, ...]:
    named = filesystem.protocol
    return (named,) if isinstance(named, str) else tuple(named)


class Layout:
    """Where things lie, each tenant's apart. Only code that passed an id's pattern calls these."""

    LENS = "lens"  # logit-lens tables of models, by the hash of their weights; they outlive jobs
    WORK = "work"

    @staticmethod
    def documents(corpus: str, tenant: str = DEFAULT_TENANT) -> str:
        return f"{Layout.corpus(corpus, tenant)}/documents.parquet"

    @staticmethod
    def corpus(corpus: str, tenant: str = DEFAULT_TENANT) -> str:
        return Layout._own(tenant, f"corpora/{corpus}")

    @staticmethod
    def _own(tenant: str, path: str) -> str:
        return path if tenant == DEFAULT_TENANT else f"tenants/{tenant}/{path}"

    @staticmethod
    def vectors(name: str, tenant: str = DEFAULT_TENANT) -> str:
        return f"{Layout.vector_set(name, tenant)}/vectors.safetensors"

    @staticmethod
    def vector_set(name: str, tenant: str = DEFAULT_TENANT) -> str:
        return Layout._own(tenant, f"vectors/{name}")

    @staticmethod
    def work(job: str) -> str:
        """What a job needs while it runs: plan, windows, partials. Gone when it ends."""
        return f"work/{job}"

    @staticmethod
    def result(job: str) -> str:
        return f"results/{job}"
