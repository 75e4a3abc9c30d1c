"""The file of a set of directions: float32 in the safetensors format, its labels in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from polyseme.contract.errors import DamagedFile, MalformedRequest
from polyseme.contract.files.safetensors import Header, Tensor, read_header
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.vector_set import VectorSet


@dataclass(frozen=True)
class Numbers:
    """A set's numbers as bytes, little-endian float32."""

    vectors: bytes  # count * width
    bias: bytes | None  # count


@dataclass(frozen=True)
class VectorFile:
    """An open file of a set. Nothing but its size is checked."""

    file: IO[bytes]
    header: Header

    @property
    def labels(self) -> tuple[str, ...] | None:
        text = self.header.metadata.get("labels")
        return None if text is None else tuple(json.loads(text))

    def row(self, number: int) -> bytes:
        """A direction's numbers, little-endian float32."""
        tensor = self.header.tensors["vectors"]
        size = 4 * tensor.shape[1]
        self.file.seek(tensor.begin + number * size)
        return self.file.read(size)


@contextmanager
def open_set(store: Store, vectors: VectorSet, tenant: str) -> Iterator[VectorFile]:
    """Raises FileNotFoundError, DamagedFile."""
    path = Layout.vectors(vectors.id, tenant)
    with store.open(path) as file:
        try:
            yield VectorFile(file, read_header(file, vectors.size))
        except MalformedRequest as e:
            raise DamagedFile(f"{path}: {e.message}", path=path) from e


@contextmanager
def open_if_there(
    store: Store, vectors: VectorSet | None, tenant: str
) -> Iterator[VectorFile | None]:
    """None for no set, and for one whose file is gone. Raises DamagedFile."""
    with ExitStack() as stack:
        opened = None
        if vectors is not None:
            with suppress(FileNotFoundError):
                opened = stack.enter_context(open_set(store, vectors, tenant))
        yield opened


def read_numbers(store: Store, vectors: VectorSet, tenant: str) -> Numbers:
    """All of them, once the file is what was written. Raises FileNotFoundError, DamagedFile."""
    path = Layout.vectors(vectors.id, tenant)
    content = store.read(path)
    if hashlib.sha256(content).hexdigest() != vectors.sha256:
        raise DamagedFile(f"{path} is not what was written", path=path)
    with open_set(store, vectors, tenant) as opened:
        tensors = opened.header.tensors
    bias = tensors.get("bias")
    return Numbers(_cut(content, tensors["vectors"]), None if bias is None else _cut(content, bias))


def _cut(content: bytes, tensor: Tensor) -> bytes:
    return content[tensor.begin : tensor.end]
