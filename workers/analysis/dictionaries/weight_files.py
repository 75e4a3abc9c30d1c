"""The files of one dictionary: JSON, YAML, safetensors and plain arrays, never a pickle."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError

_LARGEST_SETTINGS = 1 << 20  # bytes


class Folder:
    """A folder whose files are read by name; what was read is remembered for the fingerprint.

    Whatever is wrong raises DictionaryLoadError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests: dict[str, str] = {}

    def names(self) -> list[str]:
        """Of the files in it, sorted."""
        return sorted(file.name for file in self.path.iterdir() if file.is_file())

    def has(self, *names: str) -> bool:
        return all((self.path / name).is_file() for name in names)

    def json(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads(self._read_settings(name))
        except (ValueError, RecursionError) as e:
            raise DictionaryLoadError(f"{name} is no JSON: {e}") from e
        return _as_table(name, values)

    def yaml(self, name: str) -> dict[str, Any]:
        try:
            values = yaml.safe_load(self._read_settings(name))
        except (yaml.YAMLError, RecursionError, ValueError) as e:
            raise DictionaryLoadError(f"{name} is no YAML: {str(e).splitlines()[0]}") from e
        return _as_table(name, values)

    def safetensors(self, name: str, leave: tuple[str, ...] = ()) -> Tensors:
        """leave: names of tensors that are not to be read."""
        file = self._find(name)
        try:
            with safe_open(file, "pt") as opened:
                wanted = [key for key in opened.keys() if key not in leave]  # noqa: SIM118
                return Tensors(name, {key: opened.get_tensor(key) for key in wanted})
        except (SafetensorError, OSError) as e:
            raise DictionaryLoadError(f"cannot read {name}: {e}") from e

    def arrays(self, name: str) -> Tensors:
        """Of an .npz file."""
        file = self._find(name)
        try:
            with np.load(file, allow_pickle=False) as opened:
                return Tensors(name, {key: torch.from_numpy(opened[key]) for key in opened.files})
        except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as e:
            raise DictionaryLoadError(f"cannot read {name}: {e}") from e

    def sha256(self) -> str:
        """Over the names and contents of all files that were read, by name."""
        lines = [f"{name} {digest}\n" for name, digest in sorted(self._digests.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _read_settings(self, name: str) -> str:
        file = self._find(name)
        if file.stat().st_size > _LARGEST_SETTINGS:
            raise DictionaryLoadError(f"{name} has more than {_LARGEST_SETTINGS:,} bytes")
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise DictionaryLoadError(f"{name} is no UTF-8: {e}") from e

    def _find(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise DictionaryLoadError(f"there is no {name} in {self.path}")
        if not _lies_inside(file.resolve(), self.path.resolve()):
            raise DictionaryLoadError(f"{name} is a link to a file outside of {self.path}")
        with file.open("rb") as opened:
            self._digests[name] = hashlib.file_digest(opened, "sha256").hexdigest()
        return file


class Tensors:
    """The tensors of a file, taken one by one as float32: what is left over at the end is not
    known here.
    """

    def __init__(self, file: str, values: Mapping[str, Tensor]) -> None:
        self._file, self._left = file, dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises DictionaryLoadError for a tensor that is not there."""
        if name not in self._left:
            names = ", ".join(sorted(self._left)) or "none"
            raise DictionaryLoadError(f"{self._file} has no {name}; its tensors are {names}")
        return tuple(self._left[name].shape)

    def take(self, name: str, *shape: int) -> Tensor:
        """Raises DictionaryLoadError where it is missing, of another shape or not finite."""
        if self.shape(name) != shape:
            raise DictionaryLoadError(
                f"{self._file}: {name} is of shape {self.shape(name)}; expected {shape}"
            )
        value = self._left.pop(name)
        if not value.is_floating_point():
            raise DictionaryLoadError(f"{self._file}: {name} is {value.dtype}, no floating point")
        value = value.float()
        if not value.isfinite().all():
            raise DictionaryLoadError(f"{self._file}: {name} has numbers that are not finite")
        return value

    def take_if_there(self, name: str, *shape: int) -> Tensor | None:
        return self.take(name, *shape) if name in self else None

    def ignore(self, *names: str) -> None:
        for name in names:
            self._left.pop(name, None)

    def refuse_factor(self, name: str = "scaling_factor") -> None:
        """Factors of latents that were tuned afterwards: left out where all are 1."""
        factor = self._left.pop(name, None)
        if factor is not None and not bool((factor == 1).all()):
            raise DictionaryLoadError(
                f"{self._file}: {name} is not 1 everywhere: latents that were rescaled after "
                f"training are not read"
            )

    def refuse_rest(self) -> None:
        if self._left:
            names = ", ".join(sorted(self._left)[:6])
            raise DictionaryLoadError(f"{self._file}: tensors not known here: {names}")


def _lies_inside(file: Path, folder: Path) -> bool:
    """Or in the hub's cache beside it, whose snapshots are folders of links to `blobs`."""
    if file.is_relative_to(folder):
        return True
    caches = [up.parent for up in (folder, *folder.parents) if up.name == "snapshots"]
    return any(file.is_relative_to(cache / "blobs") for cache in caches)


def _as_table(name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise DictionaryLoadError(f"{name}: expected an object with names")
    return values
