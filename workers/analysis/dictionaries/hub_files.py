"""A dictionary's files from the hub: those that are read, never pickles."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from polyseme.contract.errors import DictionaryLoadError
from polyseme.contract.records.catalogue import DictionaryEntry

_SETTINGS = ("cfg.json", "config.json", "config.yaml")
_WEIGHTS = ("sae_weights.safetensors", "sae.safetensors", "params.safetensors", "params.npz")


def fetch_folder(entry: DictionaryEntry) -> Path:
    """The entry's folder or file in the hub's cache, whose path has the repo's name in it; fetched
    if it is not there.

    Raises DictionaryLoadError.
    """
    try:
        snapshot = snapshot_download(
            entry.location, revision=entry.revision, allow_patterns=list(_patterns(entry.folder))
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0][:300]
        raise DictionaryLoadError(f"cannot fetch {entry.source}: {reason}") from e
    return Path(snapshot) / entry.folder


def _patterns(folder: str) -> tuple[str, ...]:
    """Of the files that may be read, in the folder or beside the file that is named."""
    if folder.endswith(".safetensors"):
        parent = folder.rpartition("/")[0]
        return (folder, *(f"{parent}/{name}" if parent else name for name in _SETTINGS))
    return tuple(f"{folder}/{name}" if folder else name for name in (*_SETTINGS, *_WEIGHTS))
