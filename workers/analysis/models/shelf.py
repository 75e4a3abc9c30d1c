"""Loaded models, kept between jobs as far as they fit."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from polyseme.contract.errors import ModelLoadError
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.machine.limits import device_memory
from polyseme.workers.analysis.models.load import (
    LoadedModel,
    load_opened,
    measure,
    open_model,
    resolve_device,
    resolve_dtype,
)

OnLoad = Callable[[str, float], None]


class ModelShelf:
    """Loaded models, kept between jobs.

    The one unused longest goes when the next would not fit. For one thread.
    """

    def __init__(
        self,
        budget_bytes: int,
        *,
        device: str,
        dtype: str,
        cache: Path,
        compiled: bool = False,
        on_load: OnLoad = lambda model, seconds: None,
    ) -> None:
        """budget_bytes: of weights; 0 is half of the device's memory. on_load: told of every load
        and its seconds.
        """
        self.device, self.dtype, self._cache = resolve_device(device), resolve_dtype(dtype), cache
        self._compiled = compiled
        self._budget = budget_bytes or device_memory(self.device) // 2
        self._on_load = on_load
        self._models: OrderedDict[Entry, LoadedModel] = OrderedDict()

    def get(self, entry: Entry) -> LoadedModel:
        """The model, loaded if it is not there.

        Raises what `load_model` raises, and ModelLoadError if it alone is
        larger than the budget."""
        if entry not in self._models:
            began = time.monotonic()
            opened = open_model(entry, self._cache)
            self._make_room(entry, measure(opened, self.dtype))
            self._models[entry] = load_opened(opened, self.device, self.dtype, self._compiled)
            self._on_load(entry.id, time.monotonic() - began)
        self._models.move_to_end(entry)
        return self._models[entry]

    @property
    def held(self) -> tuple[Entry, ...]:
        """The models in memory, the one unused longest first."""
        return tuple(self._models)

    def sizes(self) -> list[int]:
        """Bytes of each model in memory. From any thread."""
        return [model.size_bytes for model in tuple(self._models.values())]

    def _make_room(self, entry: Entry, needed: int) -> None:
        if needed > self._budget:
            raise ModelLoadError(
                f"{entry.id}: its weights take {_gigabytes(needed)}, a worker keeps at most "
                f"{_gigabytes(self._budget)}"
            )
        while (
            self._models
            and needed + sum(m.size_bytes for m in self._models.values()) > self._budget
        ):
            self._models.popitem(last=False)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
