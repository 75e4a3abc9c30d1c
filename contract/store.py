"""The store: files under one fsspec URL, whole or not there at all, and where each lies."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from contract.tenants import DEFAULT_TENANT


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

    def folder_size(self, path: str) -> int:
        """Bytes of all files in a folder, and in those in it; 0 when it is not there."""
        self._fs.invalidate_cache()  # object storage: other processes have written since it was listed
        try:
            return int(self._fs.du(self._path(path)))
        except FileNotFoundError:
            return 0

    def names(self, folder: str) -> list[str]:
        """The names directly in a folder, sorted, without unfinished ones; none when it is not there."""
        if not self._fs.isdir(self._path(folder)):
            return []
        found: list[Any] = self._fs.ls(self._path(folder), detail=False)
        return sorted(n for n in (str(p).rstrip("/").rpartition("/")[2] for p in found) if not n.endswith(".tmp"))

    def delete(self, path: str) -> None:
        """Removes a file or a folder with all it holds; one that is not there is no error."""
        if self._fs.exists(self._path(path)):
            self._fs.rm(self._path(path), recursive=True)


class Layout:
    """Where things lie in the store. Only code that passed an id's pattern calls these."""

    LENS = "lens"  # logit-lens tables of models, by the hash of their weights; they outlive jobs

    @staticmethod
    def documents(corpus: str, tenant: str = DEFAULT_TENANT) -> str:
        return f"{Layout.corpus(corpus, tenant)}/documents.parquet"

    @staticmethod
    def corpus(corpus: str, tenant: str = DEFAULT_TENANT) -> str:
        """Two tenants may call a corpus the same."""
        own = f"corpora/{corpus}"
        return own if tenant == DEFAULT_TENANT else f"tenants/{tenant}/{own}"

    @staticmethod
    def work(job: str) -> str:
        """What a job needs while it runs: plan, windows, partials. Gone when it ends."""
        return f"work/{job}"

    @staticmethod
    def result(job: str) -> str:
        return f"results/{job}"
