"""A GGUF file's keys and tensors, and which of them nobody has asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFReader

from polyseme.workers.analysis.models.reading import name_some

# What names a file and where it comes from, what only generating or training needs, and which
# tokens have a part in a chat.
_HARMLESS = re.compile(
    r"""GGUF\..*
    | general\.(?!architecture$|type$).*
    | (?:quantize|imatrix)\..*
    | split\.(?:no|tensors\.count)
    | tokenizer\.chat_templates?(?:\..*)?
    | tokenizer\.ggml\.(?:eot|eom|prefix|suffix|middle|fim_\w+)_(?:token_)?id
    | tokenizer\.ggml\.(?:token_type_count|suppress_tokens|mask_token_id|seperator_token_id)
    | [\w-]+\.(?:pooling_type|tensor_data_layout|rope\.scaling\.finetuned)
    """,
    re.VERBOSE,
)


class GgufFile:
    """Values are asked for by key, those of an architecture without its name in front."""

    def __init__(self, path: Path) -> None:
        self._reader = GGUFReader(path)
        self._asked: set[str] = set()
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._used: set[str] = set()
        self.architecture: str = self.get("general.architecture")

    def get(self, key: str, default: Any = None) -> Any:
        """A key's value, or the default where the file has no such key."""
        self._asked.add(key)
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def find(self, key: str, default: Any = None) -> Any:
        """As `get`, of the file's architecture."""
        return self.get(f"{self.architecture}.{key}", default)

    def require(self, key: str) -> Any:
        """Raises ValueError when the architecture's key is not there."""
        value = self.find(key)
        if value is None:
            raise ValueError(f"it has no {self.architecture}.{key}")
        return value

    def only(self, key: str, *allowed: Any) -> None:
        """Raises ValueError for a key that says something else than what is allowed."""
        value = self.get(key)
        if value is not None and value not in allowed:
            raise ValueError(f"{key} is {value!r}, which is not supported")

    def has(self, tensor: str) -> bool:
        return tensor in self._tensors

    def shape(self, tensor: str) -> tuple[int, ...]:
        """As torch has it."""
        return tuple(int(n) for n in reversed(self._tensors[tensor].shape))

    def claim(self, tensor: str) -> tuple[int, ...]:
        """Its shape; it counts as used from here on.

        Raises ValueError when it is not there.
        """
        if tensor not in self._tensors:
            raise ValueError(f"it has no tensor {tensor}")
        self._used.add(tensor)
        return self.shape(tensor)

    def take(self, tensor: str) -> np.ndarray:
        """The tensor's values, float32, unpacked from whatever holds them. Raises as `claim`."""
        shape = self.claim(tensor)
        found = self._tensors[tensor]
        values = gguf.quants.dequantize(found.data, found.tensor_type)
        return np.ascontiguousarray(values, np.float32).reshape(shape)

    def check_all_used(self) -> None:
        """Raises ValueError that names the keys and tensors that nobody has asked for."""
        keys = [
            key
            for key in self._reader.fields
            if key not in self._asked and not _HARMLESS.fullmatch(key)
        ]
        if keys:
            raise ValueError(f"what these keys mean is not known here: {name_some(sorted(keys))}")
        if tensors := [name for name in self._tensors if name not in self._used]:
            raise ValueError(
                f"a {self.architecture} has no such tensors here: {name_some(sorted(tensors))}"
            )
