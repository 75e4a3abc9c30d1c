"""The dictionaries of the last job that had any, in memory: its units come one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyseme.contract.errors import DictionaryLoadError
from polyseme.contract.records.catalogue import DictionaryEntry
from polyseme.workers.analysis.dictionaries.formats import read_dictionary
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.latents import Latents, read_latents

Key = tuple[str, tuple[str, ...]]  # the model's weights, and the dictionaries


class DictionaryShelf:
    def __init__(self, catalogue: Mapping[str, DictionaryEntry]) -> None:
        self.catalogue = catalogue
        self._held: tuple[Key, dict[int, Latents]] | None = None

    def get(self, model: LoadedModel, names: Sequence[str]) -> dict[int, Latents]:
        """By layer, on the model's device. Raises DictionaryLoadError."""
        key = model.weights_sha256, tuple(names)
        if self._held is not None and self._held[0] == key:
            return self._held[1]
        self._held = None  # before others take memory
        read = {name: read_dictionary(self._find(name, model.card.id)) for name in names}
        latents = read_latents(model.parts, read, model.device)
        self._held = key, latents
        return latents

    def _find(self, name: str, model: str) -> DictionaryEntry:
        entry = self.catalogue.get(name)
        if entry is None:
            raise DictionaryLoadError(f"dictionary {name!r} is not in this worker's catalogue")
        if entry.model != model:
            raise DictionaryLoadError(f"dictionary {name!r} is of {entry.model}, not of {model}")
        return entry
