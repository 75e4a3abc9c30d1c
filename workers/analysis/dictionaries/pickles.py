"""Dictionaries that other projects keep as pickles, written anew as SAELens does.

The only place where a pickle is opened, by an operator's command: torch reads tensors and plain
values from it, and refuses anything that would run.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.formats import read_path
from polyseme.workers.analysis.dictionaries.pickled_layouts import (
    LAYOUTS,
    Hints,
    Pickled,
    find_layout,
)
from polyseme.workers.analysis.dictionaries.readers.saelens import SETTINGS, WEIGHTS

_LARGEST_SETTINGS = 1 << 20  # bytes


@dataclass(frozen=True)
class Conversion:
    """What was read, and what was made of it."""

    layout: str  # whose pickle it was
    found: dict[str, str]  # name of a value: its shape, or the value
    settings: dict[str, Any] = field(default_factory=dict)  # the cfg.json that was written


def convert_pickle(file: Path, target: Path, hints: Hints) -> Conversion:
    """Writes the folder `target`, which must not be there, whole or not at all.

    hints: what the operator says that the file does not. Raises DictionaryLoadError.
    """
    if target.exists():
        raise DictionaryLoadError(f"{target} is there already: name a folder that is not")
    values, trained = _unpickle(file), _read_training(file)
    layout = find_layout(file, values, trained, hints)
    made = layout.convert(Pickled(file, dict(values), trained), hints)
    _write(target, made.settings, made.tensors)
    found = {name: _describe(value) for name, value in sorted(values.items())}
    return Conversion(layout.name, found, made.settings)


def _unpickle(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        raise DictionaryLoadError(f"there is no file {file}")
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0][:200]
        raise DictionaryLoadError(
            f"{file.name} is no pickle of tensors and plain values alone, so it is not opened: "
            f"{reason}"
        ) from e
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise DictionaryLoadError(
            f"{file.name} holds a {type(values).__name__}; known are the tensors by name of {known}"
        )
    return values


def _read_training(file: Path) -> dict[str, Any]:
    """What dictionary_learning writes beside its file; empty without it."""
    beside = file.with_name("config.json")
    if not beside.is_file() or beside.stat().st_size > _LARGEST_SETTINGS:
        return {}
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise DictionaryLoadError(f"{beside} is no JSON: {e}") from e
    if not isinstance(values, dict) or not isinstance(values.get("trainer"), dict):
        return {}
    return values


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        size = "x".join(map(str, value.shape)) or "one number"
        return f"{size} {str(value.dtype).removeprefix('torch.')}"
    return repr(value)[:60]


def _write(target: Path, settings: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    part = target.with_name(f"{target.name}.part")
    part.mkdir(parents=True)
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, part / WEIGHTS)
        (part / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        read_path(part, "saelens")  # shapes, names and numbers are right, or it raises
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
