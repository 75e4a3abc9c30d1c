"""Where a model's files are; a GGUF file is converted first, once. Pickles are never read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from polyseme.contract.errors import ModelLoadError
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.files.once import make_once
from polyseme.workers.analysis.models.gguf.convert import convert
from polyseme.workers.analysis.models.reading import reading_files

_CONVERSION = 2  # raised when a GGUF file is converted into something else than before


def locate_model(entry: Entry, cache: Path) -> str:
    """What from_pretrained takes: a hub id, or a folder; a GGUF file is converted into the cache
    first, once.

    Raises ModelLoadError when there is nothing that may be loaded.
    """
    if entry.kind == "hub":
        return entry.location
    if entry.kind == "gguf":
        return str(_converted(entry, cache))
    _check_folder(entry)
    return entry.location


def _check_folder(entry: Entry) -> None:
    folder = Path(entry.location)
    if not folder.is_dir():
        raise ModelLoadError(f"{entry.id}: there is no folder {folder}")
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"{entry.id}: {folder} has no config.json")
    if any(folder.glob("*.safetensors")):
        check_index(entry, folder / SAFE_WEIGHTS_INDEX_NAME)
        return
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    weights = "pickled weights only, which are never read" if pickled else "no weights"
    raise ModelLoadError(f"{entry.id}: {folder} has {weights}; expected a .safetensors file")


def check_index(entry: Entry, index: Path) -> None:
    """Refuses an index that names other files than shards: transformers would open them, pickles
    too, anywhere.
    """
    if not index.is_file():
        return
    with reading_files(entry, "index of weights"):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    if wrong := sorted(n for n in names if not n.endswith(".safetensors") or Path(n).name != n):
        raise ModelLoadError(
            f"{entry.id}: its index names {wrong[0][:80]!r}, which is no .safetensors file "
            f"beside it"
        )


def _converted(entry: Entry, cache: Path) -> Path:
    """The folder in the cache with the GGUF file's model as safetensors; made if it is not
    there.
    """
    file = Path(entry.location)
    if not file.is_file():
        raise ModelLoadError(f"{entry.id}: there is no file {file}")
    with reading_files(entry, "GGUF file"), file.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
        folder = cache / "models" / f"{digest}-{_CONVERSION}"
        make_once(folder, lambda target: convert(file, target))
    return folder
