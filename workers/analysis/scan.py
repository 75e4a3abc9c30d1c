"""The scan's inner loop: what is kept of each layer's activations, block by block. Knows nothing of models or files.

`LayerScan.update` is the only code whose cost grows with tokens times neurons. It has three forms that keep the same:
plain torch for every device, and kernels for a CPU and for a GPU, which sum moments more exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from contract.errors import NonFiniteActivation
from contract.request import AnalysisRequest, Tail
from workers.analysis.bands import band_of
from workers.analysis.histogram import BIN_TABLE, Histogram
from workers.analysis.moments import POWERS, Moments
from workers.analysis.plan import window_priority
from workers.analysis.topk import EMPTY, Accepted, TopLists, encode_keys, encode_samples
from workers.analysis.windows import Windows

Kernels = Literal["none", "cpu", "gpu"]

_NOT_FINITE = "an activation is not finite: try another dtype for this model"

_HANGING = ("row", "position", "peak", "start", "display")  # columns of lists that hang on an entry

_SIGN: dict[Tail, float] = {"positive": 1.0, "negative": -1.0}


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


class Block:
    """A block of windows on the device, right-padded. B windows, S tokens, T counted tokens."""

    def __init__(self, windows: Windows, first_row: int, pad: int, device: torch.device | str) -> None:
        lengths = windows.lengths
        inside = np.arange(lengths.max())[None, :] < lengths[:, None]  # (B, S)
        ids = np.full(inside.shape, pad, np.int64)
        counted = np.zeros(inside.shape, bool)
        ids[inside], counted[inside] = windows.ids, windows.counted
        documents = _at_each(windows.documents, inside)
        self.windows = windows
        # Each token's place in the block laid flat, in the windows' order: (tokens,).
        self.inside_index = torch.from_numpy(np.flatnonzero(inside)).to(device)
        self.ids = torch.from_numpy(ids).to(device)  # (B, S)
        self.inside = torch.from_numpy(inside).to(device)
        self.counted = torch.from_numpy(counted).to(device)
        self.documents = torch.from_numpy(documents).to(device)  # (B, S) int32
        self.lengths = torch.from_numpy(lengths).to(device)  # (B,)
        self.numbers = torch.from_numpy(windows.number.astype(np.int64)).to(device)  # (B,)
        self.priorities = torch.from_numpy(window_priority(windows.number)).to(device)  # (B,) 31 bits
        self.rows = torch.arange(first_row, first_row + len(windows), dtype=torch.int32, device=device)
        self.tokens = int(lengths.sum())
        # None when every token counts: then nothing need be masked.
        self.uncounted = None if bool(counted.all()) else ~self.counted
        self.counted_tokens = int(counted.sum())

    @cached_property
    def counted_index(self) -> Tensor:
        """Where in the block, laid flat, the counted tokens are: (T,)."""
        return self.counted.view(-1).nonzero().squeeze(1)

    def at_tokens(self, values: Tensor) -> Tensor:
        """What stands at the block's tokens, in the windows' order: (tokens, D). values: (B, S, D)."""
        return values.flatten(0, 1).index_select(0, self.inside_index)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.numbers, self.priorities, self.lengths, self.rows, self.documents

    @cached_property
    def columns(self) -> tuple[np.ndarray, ...]:
        """What the kernels need of a block on the CPU."""
        return tuple(c.numpy() for c in (*self.tensors, self.counted))


def _at_each(flat: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A window column laid out as (B, S), its first value in the padding."""
    laid = np.zeros(inside.shape, flat.dtype)
    laid[inside] = flat
    return np.where(inside, laid, laid[:, :1])


class ContextLists:
    """Lists of contexts with what must be kept of each while the activations are at hand."""

    def __init__(self, count: int, k: int, sizes: ListSizes, device: torch.device | str) -> None:
        self.top = TopLists(count, k, distinct=sizes.distinct, device=device)
        self.row = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.position = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self.peak = torch.full((count, k), torch.nan, device=device)  # float32, with its own sign
        self.start = torch.zeros((count, k), dtype=torch.int32, device=device)  # of the display
        # float16 is for showing only: beside an exact peak, half the size of the largest thing kept.
        self.display = torch.zeros((count, k, sizes.display), dtype=torch.float16, device=device)

    def tensors(self) -> tuple[Tensor, ...]:
        """The lists and what hangs on their entries: changing them changes this object."""
        return *self.top.tensors(), self.row, self.position, self.peak, self.start, self.display

    def columns(self) -> tuple[np.ndarray, ...]:
        """The same as arrays, the display's as float16's bits."""
        *others, display = self.tensors()
        return *(c.numpy() for c in others), display.view(torch.int16).numpy()

    @property
    def named(self) -> dict[str, Tensor]:
        """The columns of the entries by their names in files, (L, K) or (L, K, D)."""
        hanging = {name: getattr(self, name) for name in _HANGING}
        return {"keys": self.top.keys, "documents": self.top.documents} | hanging

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: column.cpu().numpy() for name, column in self.named.items()}

    def entries(self) -> dict[str, np.ndarray]:
        """What this scan put into the lists: "counts" (L,) of each list, and every column of them, (E,) or (E, D)."""
        own = self.row >= 0
        at = own.view(-1).nonzero().squeeze(1)
        found = {name: column.flatten(0, 1).index_select(0, at).cpu().numpy() for name, column in self.named.items()}
        return found | {"counts": own.sum(1, dtype=torch.int32).cpu().numpy()}

    def known(self) -> dict[str, np.ndarray]:
        """Of all entries what decides about others: "keys" and "documents", (L, K) each."""
        return {name: self.named[name].cpu().numpy() for name in ("keys", "documents")}

    def begin_with(self, keys: np.ndarray, documents: np.ndarray) -> None:
        """Fills empty lists with entries of other scans, as `known` gives them. Nothing hangs on these here."""
        self.top.fill(torch.from_numpy(keys), torch.from_numpy(documents))

    def merge(self, entries: Mapping[str, np.ndarray], *, fused: bool) -> None:
        """Offers the entries of another scan's lists."""
        offsets = np.concatenate([[0], np.cumsum(entries["counts"], dtype=np.int64)])
        if fused:
            self._merge_fused(entries, offsets)
            return
        lists = np.repeat(np.arange(len(offsets) - 1), entries["counts"])
        columns = np.arange(len(lists)) - offsets[lists]
        laid = len(offsets) - 1, int(entries["counts"].max(initial=1))
        keys, documents = np.full(laid, EMPTY), np.full(laid, -1, np.int32)
        keys[lists, columns], documents[lists, columns] = entries["keys"], entries["documents"]
        accepted = self.top.offer(torch.from_numpy(keys), torch.from_numpy(documents))
        taken = torch.from_numpy(offsets)[accepted.lists] + accepted.columns
        for name in _HANGING:
            self.named[name][accepted.lists, accepted.slots] = torch.from_numpy(entries[name])[taken]

    def _merge_fused(self, entries: Mapping[str, np.ndarray], offsets: np.ndarray) -> None:
        from workers.analysis import kernels

        changed = np.empty(self.top.keys.shape, np.int64)
        lists = self.columns()
        kernels.offer_entries(offsets, entries["keys"], entries["documents"], self.top.distinct, lists, changed)
        *others, display = (entries[name] for name in _HANGING)
        kernels.take_entries(changed, *others, display.view(np.int16), *lists[3:])


class TailScan:
    """The contexts of one tail of every neuron of a layer: the largest peaks, and a sample over the bands."""

    def __init__(
        self, neurons: int, tail: Tail, edges: np.ndarray | None, sizes: ListSizes, device: torch.device | str
    ) -> None:
        self.sign = _SIGN[tail]
        self.sizes = sizes
        self.top = ContextLists(neurons, sizes.top, sizes, device)
        self.edges = None if edges is None else torch.from_numpy(edges).to(device)
        bands = 0 if edges is None else sizes.bands
        self.sample = ContextLists(neurons * bands, max(sizes.band, 1), sizes, device)
        self.band_windows = torch.zeros((neurons, bands), dtype=torch.int64, device=device)

    def update(self, block: Block, activations: Tensor, peaks: Tensor, positions: Tensor) -> None:
        """Offers each window's peak to the lists of each neuron.

        activations: (B, S, N); peaks: (B, N), the largest sign * activation among a window's counted tokens;
        positions: (B, N), where it is first reached.
        """
        documents = block.documents.gather(1, positions)  # (B, N)
        for lists, accepted in self._offer(block, peaks, documents):
            self._keep(lists, accepted, block, activations, peaks, positions)

    def _offer(self, block: Block, peaks: Tensor, documents: Tensor) -> Iterator[tuple[ContextLists, Accepted]]:
        keys = encode_keys(peaks, block.numbers[:, None])  # (B, N)
        yield self.top, self.top.top.offer(keys.T.contiguous(), documents.T.contiguous())
        if self.edges is None:
            return
        bands = band_of(peaks, self.edges)  # (B, N)
        held = bands[:, :, None] == torch.arange(self.sizes.bands, device=bands.device)  # (B, N, bands)
        self.band_windows += held.sum(0)
        drawn = encode_samples(block.priorities, block.numbers)[:, None, None]
        keys = torch.where(held, drawn, EMPTY).flatten(1)  # (B, N * bands)
        documents = documents.T.repeat_interleave(self.sizes.bands, 0)
        yield self.sample, self.sample.top.offer(keys.T.contiguous(), documents)

    @cached_property
    def columns(self) -> tuple[np.ndarray, ...]:
        """What the kernels go by and what they change, as arrays that share this object's memory."""
        edges = np.empty((len(self.band_windows), 0), np.float32) if self.edges is None else self.edges.numpy()
        return edges, self.band_windows.numpy(), *self.top.columns(), *self.sample.columns()

    def _keep(
        self,
        lists: ContextLists,
        accepted: Accepted,
        block: Block,
        activations: Tensor,
        peaks: Tensor,
        positions: Tensor,
    ) -> None:
        """Copies what hangs on the entries that just entered the lists."""
        if not len(accepted.lists):
            return
        neurons = accepted.lists // (len(lists.row) // peaks.shape[1])
        windows = accepted.columns
        position = positions[windows, neurons]  # (P,)
        spare = block.lengths[windows] - self.sizes.display
        start = (position - self.sizes.display // 2).minimum(spare).clamp(min=0)
        shown = start[:, None] + torch.arange(self.sizes.display, device=start.device)  # (P, D)
        shown = shown.clamp(max=activations.shape[1] - 1)
        display = activations[windows[:, None], shown, neurons[:, None]]
        at = accepted.lists, accepted.slots
        lists.row[at] = block.rows[windows]
        lists.position[at] = position.to(torch.int32)
        lists.start[at] = start.to(torch.int32)
        lists.peak[at] = peaks[windows, neurons] * self.sign
        lists.display[at] = display.clamp(-65504, 65504).to(torch.float16)

    @property
    def lists(self) -> dict[str, ContextLists]:
        """Those that are kept, by their names in files."""
        return {"top": self.top} | ({} if self.edges is None else {"sample": self.sample})

    def arrays(self) -> dict[str, np.ndarray]:
        found = _joined({name: lists.entries() for name, lists in self.lists.items()})
        return found if self.edges is None else found | {"band_windows": self.band_windows.cpu().numpy()}

    def known(self) -> dict[str, np.ndarray]:
        return _joined({name: lists.known() for name, lists in self.lists.items()})

    def begin_with(self, known: Mapping[str, np.ndarray]) -> None:
        for name, lists in self.lists.items():
            lists.begin_with(**_under(f"{name}/", known))

    def merge(self, arrays: Mapping[str, np.ndarray], *, fused: bool) -> None:
        for name, lists in self.lists.items():
            lists.merge(_under(f"{name}/", arrays), fused=fused)
        if self.edges is not None:
            self.band_windows += torch.from_numpy(arrays["band_windows"])


class LayerScan:
    """Everything kept of one layer. `arrays` and `merge` are how scans of different shards are put together."""

    def __init__(
        self,
        neurons: int,
        edges: Mapping[Tail, np.ndarray | None],
        sizes: ListSizes,
        device: torch.device | str = "cpu",
        *,
        kernels: Kernels | None = None,
    ) -> None:
        """edges: of each tail to scan, its bands' inner edges (N, bands - 1); None for no sample.

        kernels: "none" for plain torch; by default those of the device.
        """
        self.kernels = kernels or choose_kernels(torch.device(device))
        self.moments = Moments(neurons, device)
        self.histogram = Histogram(neurons, device)
        self.low = torch.full((neurons,), torch.inf, device=device)
        self.high = torch.full((neurons,), -torch.inf, device=device)
        self.tails = {tail: TailScan(neurons, tail, inner, sizes, device) for tail, inner in edges.items()}
        self._distinct = sizes.distinct
        # For the kernels: None would be another kind of argument, and they would be compiled twice.
        self._no_tail = TailScan(0, "positive", None, sizes, device)
        self._odd = torch.zeros(1, dtype=torch.int32, device=device)  # 1 once an activation was not finite

    def update(self, block: Block, activations: Tensor) -> None:
        """activations: (B, S, N), any float, in the block's windows.

        Raises NonFiniteActivation; with a GPU's kernels `arrays` does, so that nobody waits for the GPU here.
        """
        if self.kernels == "gpu":
            self._update_on_gpu(block, activations)
        elif self.kernels == "cpu":
            self._update_on_cpu(block, activations.float())
        else:
            self._update(block, activations.float())

    def _update(self, block: Block, activations: Tensor) -> None:
        flat = activations.flatten(0, 1)  # (B * S, N)
        if block.uncounted is not None:
            flat = flat.index_select(0, block.counted_index)  # (T, N)
        self.moments.update(flat)
        self.histogram.update(flat)
        found = find_extremes(block, activations)
        _require_finite(found.high, found.low)
        self.high = self.high.maximum(found.high.amax(0))
        self.low = self.low.minimum(found.low.amin(0))
        for tail, scan in self.tails.items():
            peaks, positions = (found.high, found.high_at) if tail == "positive" else (-found.low, found.low_at)
            scan.update(block, activations, peaks, positions)

    def _update_on_cpu(self, block: Block, activations: Tensor) -> None:
        from workers.analysis import kernels

        sums = torch.empty(POWERS, len(self.low), dtype=torch.float64)
        kernels.scan_block(
            (activations.numpy(), activations.view(torch.int32).numpy()),
            block.columns,
            self._distinct,
            BIN_TABLE,
            sums.numpy(),
            self.moments.digits.numpy(),
            self.histogram.counts.numpy(),
            self.high.numpy(),
            self.low.numpy(),
            self.tails.get("positive", self._no_tail).columns,
            self.tails.get("negative", self._no_tail).columns,
        )
        # The comparisons pass over NaN, the sums do not.
        _require_finite(sums)
        self.moments.count += block.counted_tokens

    def _update_on_gpu(self, block: Block, activations: Tensor) -> None:
        from workers.analysis import gpu_kernels

        self.moments.count += block.counted_tokens
        kept = self.histogram.counts, self.moments.digits, self.high, self.low, self._odd
        with torch.cuda.device_of(activations):
            high, high_at, low, low_at = gpu_kernels.reduce_block(activations, block.counted, *kept)
            for tail, scan in self.tails.items():
                extremes, places = (high, high_at) if tail == "positive" else (low, low_at)
                offered = activations, block.tensors, extremes, places, int(scan.sign)
                offer = partial(gpu_kernels.offer_block, band_windows=scan.band_windows, distinct=self._distinct)
                offer(*offered, scan.top.tensors(), None)
                if scan.edges is not None:
                    offer(*offered, scan.sample.tensors(), scan.edges)

    def arrays(self) -> dict[str, np.ndarray]:
        """Raises NonFiniteActivation with a GPU's kernels."""
        if self._odd.item():
            raise NonFiniteActivation(_NOT_FINITE)
        found = {
            "count": np.array([self.moments.count]),
            "digits": self.moments.digits.cpu().numpy(),
            "histogram": self.histogram.array(),
            "low": self.low.cpu().numpy(),
            "high": self.high.cpu().numpy(),
        }
        return found | _joined({tail: scan.arrays() for tail, scan in self.tails.items()})

    def known(self) -> dict[str, np.ndarray]:
        """All that the lists hold, as `begin_with` takes it."""
        return _joined({tail: scan.known() for tail, scan in self.tails.items()})

    def begin_with(self, known: Mapping[str, np.ndarray]) -> None:
        """Fills the new lists with what scans of other windows of the corpus have found.

        They keep only what gets past it, and `arrays` gives only that: merged, the arrays of all give the same lists.
        """
        for tail, scan in self.tails.items():
            scan.begin_with(_under(f"{tail}/", known))

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.moments.merge(int(arrays["count"][0]), torch.from_numpy(arrays["digits"]))
        self.histogram.merge(arrays["histogram"])
        self.low = self.low.minimum(torch.from_numpy(arrays["low"]))
        self.high = self.high.maximum(torch.from_numpy(arrays["high"]))
        for tail, scan in self.tails.items():
            scan.merge(_under(f"{tail}/", arrays), fused=self.kernels == "cpu")


def choose_kernels(device: torch.device) -> Kernels:
    """Those of the device, where they work."""
    if device.type == "cpu":
        return "cpu"
    from workers.analysis.gpu_trial import kernels_work

    return "gpu" if device.type == "cuda" and kernels_work(device) else "none"


def _require_finite(*found: Tensor) -> None:
    """Raises NonFiniteActivation unless all are finite, as sums and extremes of finite activations are."""
    if not all(bool(torch.isfinite(values).all()) for values in found):
        raise NonFiniteActivation(_NOT_FINITE)


@dataclass(frozen=True, eq=False)
class Extremes:
    """Of each neuron in each window, over the counted tokens: the largest and smallest activation, and where first."""

    high: Tensor  # (B, N) float32
    high_at: Tensor  # (B, N) int64
    low: Tensor
    low_at: Tensor


def find_extremes(block: Block, activations: Tensor) -> Extremes:
    """activations: (B, S, N). NaN in `high` and `low` where a counted activation is NaN."""
    for_high = _without_uncounted(block, activations, "positive")
    for_low = _without_uncounted(block, activations, "negative")
    # argmax and argmin give the first place of several; amax and amin would not.
    return Extremes(for_high.amax(1), for_high.argmax(1), for_low.amin(1), for_low.argmin(1))


def find_peaks(block: Block, activations: Tensor, tail: Tail) -> Tensor:
    """The largest sign * activation among each window's counted tokens, (B, N). activations: (B, S, N)."""
    counted = _without_uncounted(block, activations, tail)
    return counted.amax(1) if tail == "positive" else -counted.amin(1)


def _without_uncounted(block: Block, activations: Tensor, tail: Tail) -> Tensor:
    """The activations with those that do not count where no peak of the tail can be."""
    if block.uncounted is None:
        return activations
    return activations.masked_fill(block.uncounted[:, :, None], -_SIGN[tail] * torch.inf)


def _joined(groups: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
