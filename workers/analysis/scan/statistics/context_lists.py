"""Lists of contexts: the largest peaks of each neuron, and a sample of what it fires on.

What a list keeps of a context is its key, which decides its place, and its payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.records.request import AnalysisRequest, Tail
from polyseme.workers.analysis.scan.statistics.draws import Draws
from polyseme.workers.analysis.scan.statistics.top_lists import TopLists

PAYLOAD = ("row", "position", "peak", "start", "display")  # what a list stores with each entry

SIGN: dict[Tail, float] = {"positive": 1.0, "negative": -1.0}


@dataclass(frozen=True)
class ListSizes:
    """How many contexts the lists keep: some beyond those asked for, to replace near-duplicates."""

    top: int
    band: int  # a list of the sample; 0: no sample
    bands: int  # lists that a sample is kept in
    display: int  # tokens of a context
    distinct: bool  # at most one context a document in a list
    # How many of a list's best have their tokens' activations. None: all.
    shown_top: int | None = None
    shown_band: int | None = None
    active_only: bool = False  # only contexts whose peak is above 0 (below, in the other tail)

    @classmethod
    def of(cls, request: AnalysisRequest) -> ListSizes:
        c = request.contexts
        spare = c.near_duplicates == "drop"
        bands = c.sample_lists
        top, top_shown = (_with_spare(n, 4, spare) for n in (c.top_k, c.shown))
        band, band_shown = (
            _with_spare(n, 1, spare) for n in (c.sampled // bands, -(-c.shown // bands))
        )
        return cls(
            top=top,
            band=band,
            bands=bands,
            display=c.display_tokens,
            distinct=c.per_document == 1,
            shown_top=None if c.shown >= c.top_k else top_shown,
            shown_band=None if c.shown >= c.sampled else band_shown,
        )


def _with_spare(count: int, least: int, spare: bool) -> int:
    return count + max(least, count // 4) if spare and count else count


class ContextLists:
    """Lists of contexts with what must be kept of each while the activations are at hand."""

    def __init__(
        self, count: int, k: int, display: int, distinct: bool, device: torch.device | str
    ) -> None:
        """display: tokens around the peak whose activations are kept; 0 for none."""
        self.top = TopLists(count, k, distinct=distinct, device=device)
        self.row = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.position = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.peak = torch.full((count, k), torch.nan, device=device)  # float32, with its own sign
        self.start = torch.zeros((count, k), dtype=torch.int32, device=device)  # of the display
        # float16 is for showing only: beside an exact peak, half the size of the largest thing
        # kept.
        self.display = torch.zeros((count, k, display), dtype=torch.float16, device=device)

    def tensors(self) -> tuple[Tensor, ...]:
        """The lists and their payload: changing them changes this object."""
        return *self.top.tensors(), self.row, self.position, self.peak, self.start, self.display

    def as_arrays(self) -> tuple[np.ndarray, ...]:
        """The same as arrays, the display's as float16's bits."""
        *others, display = self.tensors()
        return *(c.numpy() for c in others), display.view(torch.int16).numpy()

    @property
    def named(self) -> dict[str, Tensor]:
        """The columns of the entries by their names in files, (L, K) or (L, K, D)."""
        payload = {name: getattr(self, name) for name in PAYLOAD}
        return {"keys": self.top.keys, "documents": self.top.documents} | payload

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: column.cpu().numpy() for name, column in self.named.items()}

    def entries(self) -> dict[str, np.ndarray]:
        """What this scan put into the lists:

        "counts" (L,) of each list, and every column of them, (E,) or (E, D).
        """
        own = self.row >= 0
        at = own.view(-1).nonzero().squeeze(1)
        columns = {
            name: column.flatten(0, 1).index_select(0, at).cpu().numpy()
            for name, column in self.named.items()
        }
        return columns | {"counts": own.sum(1, dtype=torch.int32).cpu().numpy()}

    def seed(self) -> dict[str, np.ndarray]:
        """Of all entries what decides about others: "keys" and "documents", (L, K) each."""
        return {name: self.named[name].cpu().numpy() for name in ("keys", "documents")}

    def fill(self, keys: np.ndarray, documents: np.ndarray) -> None:
        """Fills empty lists with the `seed` of other scans, whose payload is not here."""
        self.top.fill(torch.from_numpy(keys), torch.from_numpy(documents))


Sample = np.ndarray | Draws | None
"""Of N units' one tail: the inner edges of bands, (N, bands - 1); by activation; or no sample."""


class TailLists:
    """The contexts of one tail of every neuron of a layer: the largest peaks, and a sample.

    Where not all entries of a list are to be shown, the best have their tokens' activations in a
    shorter list beside it: it has the same entries in the same order, as far as it goes.
    """

    def __init__(
        self,
        neurons: int,
        tail: Tail,
        sample: Sample,
        sizes: ListSizes,
        device: torch.device | str,
    ) -> None:
        self.sign = SIGN[tail]
        self.sizes = sizes
        self.edges = _on(device, sample if isinstance(sample, np.ndarray) else None)
        draws = sample if isinstance(sample, Draws) else None
        self.seeds = _on(device, None if draws is None else draws.seeds)
        self.fires = _on(device, None if draws is None else draws.fires)
        bands = 0 if self.edges is None else sizes.bands
        self.band_windows = torch.zeros((neurons, bands), dtype=torch.int64, device=device)
        count = 0 if sample is None else neurons * sizes.bands
        self.top, self.shown_top = self._pair(neurons, sizes.top, sizes.shown_top, device)
        self.sample, self.shown_sample = self._pair(
            count, max(sizes.band, 1), sizes.shown_band, device
        )

    def _pair(
        self, count: int, k: int, shown: int | None, device: torch.device | str
    ) -> tuple[ContextLists, ContextLists]:
        """Lists, and the shorter ones beside them: none where all is shown, or nothing."""
        display, distinct = self.sizes.display, self.sizes.distinct
        return (
            ContextLists(count, k, display if shown is None else 0, distinct, device),
            ContextLists(count if shown else 0, shown or 1, display, distinct, device),
        )

    @property
    def has_sample(self) -> bool:
        return self.edges is not None or self.seeds is not None

    @cached_property
    def as_arrays(self) -> tuple[np.ndarray, ...]:
        """Edges, band windows, seeds, thresholds, and the lists: top, sample, and what is shown of
        both. Of a CPU, sharing this object's memory.
        """
        neurons = len(self.band_windows)
        return (
            _array(self.edges, np.empty((neurons, 0), np.float32)),
            self.band_windows.numpy(),
            _array(self.seeds, np.empty(0, np.int64)),
            _array(self.fires, np.empty(0, np.float32)),
            *self.top.as_arrays(),
            *self.sample.as_arrays(),
            *self.shown_top.as_arrays(),
            *self.shown_sample.as_arrays(),
        )

    @property
    def lists(self) -> dict[str, ContextLists]:
        """Those that are kept, by their names in files."""
        lists = {"top": self.top, "shown/top": self.shown_top}
        if self.has_sample:
            lists |= {"sample": self.sample, "shown/sample": self.shown_sample}
        return {name: kept for name, kept in lists.items() if len(kept.row)}

    def with_shown(self, name: str) -> list[ContextLists]:
        """name: top or sample."""
        return [self.lists[n] for n in (name, f"shown/{name}") if n in self.lists]

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = joined({name: lists.entries() for name, lists in self.lists.items()})
        return (
            arrays
            if self.edges is None
            else arrays | {"band_windows": self.band_windows.cpu().numpy()}
        )

    def seed(self) -> dict[str, np.ndarray]:
        return joined({name: lists.seed() for name, lists in self.lists.items()})

    def fill(self, seed: Mapping[str, np.ndarray]) -> None:
        for name, lists in self.lists.items():
            lists.fill(**under(f"{name}/", seed))


def _on(device: torch.device | str, array: np.ndarray | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array).to(device)


def _array(tensor: Tensor | None, missing: np.ndarray) -> np.ndarray:
    return missing if tensor is None else tensor.numpy()


def joined(groups: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        f"{group}/{name}": array
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
