"""Lists of contexts: the largest peaks of each neuron, and a sample over the bands.

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
from polyseme.workers.analysis.scan.statistics.top_lists import TopLists

PAYLOAD = ("row", "position", "peak", "start", "display")  # what a list stores with each entry

SIGN: dict[Tail, float] = {"positive": 1.0, "negative": -1.0}


@dataclass(frozen=True)
class ListSizes:
    """How many contexts the lists keep: some beyond those asked for, to replace near-duplicates."""

    top: int
    band: int  # a band of the sample; 0: no sample
    bands: int
    display: int  # tokens of a context
    distinct: bool  # at most one context a document in a list

    @classmethod
    def of(cls, request: AnalysisRequest) -> ListSizes:
        c = request.contexts
        band = c.sampled // c.bands
        spare = c.near_duplicates == "drop"
        return cls(
            top=c.top_k + (max(4, c.top_k // 4) if spare else 0),
            band=band + (max(1, band // 4) if spare and band else 0),
            bands=c.bands,
            display=c.display_tokens,
            distinct=c.per_document == 1,
        )


class ContextLists:
    """Lists of contexts with what must be kept of each while the activations are at hand."""

    def __init__(self, count: int, k: int, sizes: ListSizes, device: torch.device | str) -> None:
        self.top = TopLists(count, k, distinct=sizes.distinct, device=device)
        self.row = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.position = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.peak = torch.full((count, k), torch.nan, device=device)  # float32, with its own sign
        self.start = torch.zeros((count, k), dtype=torch.int32, device=device)  # of the display
        # float16 is for showing only: beside an exact peak, half the size of the largest thing
        # kept.
        self.display = torch.zeros((count, k, sizes.display), dtype=torch.float16, device=device)

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


class TailLists:
    """The contexts of one tail of every neuron of a layer: the largest peaks, and a sample over the
    bands.
    """

    def __init__(
        self,
        neurons: int,
        tail: Tail,
        edges: np.ndarray | None,
        sizes: ListSizes,
        device: torch.device | str,
    ) -> None:
        self.sign = SIGN[tail]
        self.sizes = sizes
        self.top = ContextLists(neurons, sizes.top, sizes, device)
        self.edges = None if edges is None else torch.from_numpy(edges).to(device)
        bands = 0 if edges is None else sizes.bands
        self.sample = ContextLists(neurons * bands, max(sizes.band, 1), sizes, device)
        self.band_windows = torch.zeros((neurons, bands), dtype=torch.int64, device=device)

    @cached_property
    def as_arrays(self) -> tuple[np.ndarray, ...]:
        """Edges, band windows, top lists and sample of a CPU, sharing this object's memory."""
        edges = (
            np.empty((len(self.band_windows), 0), np.float32)
            if self.edges is None
            else self.edges.numpy()
        )
        return (
            edges,
            self.band_windows.numpy(),
            *self.top.as_arrays(),
            *self.sample.as_arrays(),
        )

    @property
    def lists(self) -> dict[str, ContextLists]:
        """Those that are kept, by their names in files."""
        return {"top": self.top} | ({} if self.edges is None else {"sample": self.sample})

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
