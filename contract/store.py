"""The store: files under one fsspec URL, whole or not there at all, and where each lies."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_DELETE_TRIES = 5


class Store:
    """Paths are relative to the URL, with forward slashes. A file appears by rename, or by one PUT."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._root = self._root.rstrip("/")
        self.url = url

    @property
    def is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def local_path(self, path: str) -> str:
        """The file's path on this machine. Only for a local store."""
        if not self.is_local:
            raise ValueError(f"{self.url} is not a local folder")
        return self._path(path)

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """A file to write, that appears under `path` when the block ends well and leaves nothing behind otherwise."""
        final = self._path(path)
        self._fs.makedirs(final.rpartition("/")[0], exist_ok=True)
        if not self.is_local:
            with self._fs.transaction, self._fs.open(final, "wb") as f:
                yield f
            return
        temporary = f"{final}.{secrets.token_hex(6)}.tmp"
        try:
            with open(temporary, "wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, final)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def write(self, path: str, content: bytes) -> None:
        with self.writing(path) as f:
            f.write(content)

    def open(self, path: str) -> IO[bytes]:
        """A seekable file to read. Raises FileNotFoundError."""
        return open(self._path(path), "rb") if self.is_local else self._fs.open(self._path(path), "rb")

    def read(self, path: str) -> bytes:
        with self.open(path) as f:
            return f.read()

    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(self._path(path)))

    def size(self, path: str) -> int:
        return int(self._fs.size(self._path(path)))

    def names(self, folder: str) -> list[str]:
        """The names directly in a folder, sorted, without unfinished ones; none when it is not there."""
        if not self._fs.isdir(self._path(folder)):
            return []
        found: list[Any] = self._fs.ls(self._path(folder), detail=False)
        return sorted(n for n in (str(p).rstrip("/").rpartition("/")[2] for p in found) if not n.endswith(".tmp"))

    def delete(self, path: str) -> None:
        """Removes a file or a folder with all it holds; one that is not there is no error."""
        for left in reversed(range(_DELETE_TRIES)):
            try:
                if self._fs.exists(self._path(path)):
                    self._fs.rm(self._path(path), recursive=True)
                return
            except OSError as e:
                # Another process removes the same, or writes into the folder.
                if e.errno not in (errno.ENOENT, errno.ENOTEMPTY) or not left:
                    raise

    def delete_unfinished(self, folder: str) -> None:
        """Removes what writers that were killed left anywhere in a folder. One that still writes there fails."""
        if self.is_local:
            for file in Path(self._path(folder)).rglob("*.tmp"):
                file.unlink(missing_ok=True)


class Layout:
    """Where things lie in the store. Only code that passed an id's pattern calls these."""

    LENS = "lens"  # logit-lens tables of models, by the hash of their weights; they outlive jobs

    @staticmethod
    def documents(corpus: str) -> str:
        return f"corpora/{corpus}/documents.parquet"

    @staticmethod
    def corpus(corpus: str) -> str:
        return f"corpora/{corpus}"

    WORK = "work"

    @staticmethod
    def work(job: str) -> str:
        """What a job needs while it runs: plan, windows, partials. Gone when it ends."""
        return f"work/{job}"

    @staticmethod
    def result(job: str) -> str:
        return f"results/{job}"
