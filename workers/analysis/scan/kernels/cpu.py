"""The kernels for a CPU, compiled by numba: one pass over the activations, then the lists.

Each neuron is the work of one thread, in the order of windows and tokens, so the number of threads
changes nothing. `reference` holds the same computation in plain torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numba
import numpy as np
import torch
from torch import Tensor

from polyseme.contract.files.results import ZERO_BIN
from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.scan.kernels.cpu_lists import (
    offer_block,
    offer_entries,
    take_entries,
)
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import PAYLOAD, ContextLists, TailLists
from polyseme.workers.analysis.scan.statistics.extremes import Extremes
from polyseme.workers.analysis.scan.statistics.histogram import BIN_TABLE
from polyseme.workers.analysis.scan.statistics.layer_statistics import LayerStatistics
from polyseme.workers.analysis.scan.statistics.moments import (
    ADDEND_DIGITS,
    DIGIT_BITS,
    LOWEST,
    POWERS,
    TOP,
    WEIGHTS,
)

_CHUNK = 64  # neurons at once: their sums and histograms stay in the cache
_TOGETHER = 4  # tokens at once
# Of activations that are nearly all 0: neurons at once, a page of memory of a token's, and those
# that are looked at together.
_PAGE, _BESIDE = 1024, 32

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


def reduce(block: Block, activations: Tensor, statistics: LayerStatistics) -> Extremes:
    return _reduce(reduce_block, block, activations, statistics)


def reduce_sparse(block: Block, activations: Tensor, statistics: LayerStatistics) -> Extremes:
    return _reduce(reduce_sparse_block, block, activations, statistics)


def _reduce(
    kernel: Callable[..., None], block: Block, activations: Tensor, statistics: LayerStatistics
) -> Extremes:
    activations = activations.float()
    shape = activations.shape[0], activations.shape[2]
    high, low = torch.empty(shape), torch.empty(shape)
    high_at = torch.empty(shape, dtype=torch.int32)
    low_at = torch.empty(shape, dtype=torch.int32)
    sums = torch.empty(POWERS, shape[1], dtype=torch.float64)
    kernel(
        _both(activations),
        block.counted.numpy(),
        BIN_TABLE,
        sums.numpy(),
        statistics.moments.digits.numpy(),
        statistics.histogram.counts.numpy(),
        statistics.high.numpy(),
        statistics.low.numpy(),
        high.numpy(),
        high_at.numpy(),
        low.numpy(),
        low_at.numpy(),
    )
    # The comparisons pass over NaN, the sums do not.
    statistics.note_nonfinite(sums)
    statistics.moments.count += block.counted_tokens
    return Extremes(high, high_at, low, low_at)


def offer(
    block: Block, activations: Tensor, extremes: Extremes, tail: Tail, lists: TailLists
) -> None:
    extreme, places = (values.numpy() for values in extremes.of(tail))
    distinct, sign = lists.sizes.distinct, int(lists.sign)
    both = _both(activations.float())
    offer_block(
        both,
        block.arrays,
        distinct,
        lists.sizes.active_only,
        sign,
        extreme,
        places,
        lists.as_arrays,
    )


def merge(lists: ContextLists, entries: Mapping[str, np.ndarray]) -> None:
    offsets = np.concatenate([[0], np.cumsum(entries["counts"], dtype=np.int64)])
    changed = np.empty(lists.top.keys.shape, np.int64)
    held = lists.as_arrays()
    keys, documents = entries["keys"], entries["documents"]
    offer_entries(offsets, keys, documents, lists.top.distinct, held, changed)
    *others, display = (entries[name] for name in PAYLOAD)
    take_entries(changed, *others, display.view(np.int16), *held[3:])


def find_firings(flat: Tensor, index: Tensor, sign: float, threshold: Tensor) -> Tensor:
    if flat.dtype != torch.float32:  # then only these are widened
        flat, index = flat.index_select(0, index).float(), torch.arange(len(index))
    fires = torch.empty(len(index), (flat.shape[1] + 7) // 8, dtype=torch.uint8)
    values = flat.numpy(), index.numpy(), np.float32(sign), threshold.numpy()
    note_firings(*values, fires.numpy())
    return fires


def _both(activations: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """float32 activations, and the same memory as int32."""
    return activations.numpy(), activations.view(torch.int32).numpy()


@numba.njit(parallel=True, **_options)
def reduce_block(  # type: ignore[no-untyped-def]
    activations,
    counted,
    bin_table,
    sums,
    digits,
    histogram,
    high,
    low,
    most,
    most_at,
    least,
    least_at,
):
    """The statistics and the extremes of a block, in one pass.

    activations: (B, S, N) float32, and the same as int32; counted: (B, S) bool; bin_table: (2048,)
    uint16, by a float32's upper 11 bits. Set: sums (4, N) float64, of the powers, not finite where
    an activation is not; most, least (B, N) float32 and most_at, least_at (B, N) int32, the
    extremes and where they are first. Added to: digits (ROWS, N) int64, the sums' as in
    `moments.Moments`, nothing where a sum is not finite; histogram (N, BINS) int32; high, low (N,)
    float32.
    """
    values, bits = activations
    windows, length, neurons = values.shape
    for chunk in numba.prange((neurons + _CHUNK - 1) // _CHUNK):
        first, end = chunk * _CHUNK, min((chunk + 1) * _CHUNK, neurons)
        powers = np.zeros((4, end - first))
        counts = histogram[first:end]
        t = np.empty(_TOGETHER, np.int64)
        for b in range(windows):
            up, up_at = most[b, first:end], most_at[b, first:end]
            down, down_at = least[b, first:end], least_at[b, first:end]
            up[:], down[:] = -np.inf, np.inf
            up_at[:], down_at[:] = 0, 0
            held = 0
            for s in range(length):
                if not counted[b, s]:
                    continue
                t[held] = s
                held += 1
                if held == _TOGETHER:
                    four = _four_rows(values[b], t, first, end)
                    _note_extremes(four, (t[0], t[1], t[2], t[3]), up, up_at, down, down_at)
                    _add_powers(four, powers)
                    _count_bins(_four_rows(bits[b], t, first, end), bin_table, counts)
                    held = 0
            for i in range(held):
                one = (values[b, t[i], first:end],)
                _note_extremes(one, (t[i],), up, up_at, down, down_at)
                _add_powers(one, powers)
                _count_bins((bits[b, t[i], first:end],), bin_table, counts)
            for n in range(end - first):
                high[first + n] = max(high[first + n], up[n])
                low[first + n] = min(low[first + n], down[n])
        sums[:, first:end] = powers
        _add_digits(powers, digits[:, first:end])


@numba.njit(parallel=True, **_options)
def reduce_sparse_block(  # type: ignore[no-untyped-def]
    activations,
    counted,
    bin_table,
    sums,
    digits,
    histogram,
    high,
    low,
    most,
    most_at,
    least,
    least_at,
):
    """As `reduce_block`, to the bit, where most of a token's activations are 0: of those it only
    counts how many there are.
    """
    values, bits = activations
    windows, length, neurons = values.shape
    for chunk in numba.prange((neurons + _PAGE - 1) // _PAGE):
        first, end = chunk * _PAGE, min((chunk + 1) * _PAGE, neurons)
        powers = np.zeros((4, end - first))
        counts = histogram[first:end]
        tokens = np.empty(length, np.int32)
        for b in range(windows):
            up, up_at = most[b, first:end], most_at[b, first:end]
            down, down_at = least[b, first:end], least_at[b, first:end]
            up[:], down[:] = -np.inf, np.inf
            up_at[:], down_at[:] = 0, 0
            active = np.zeros(end - first, np.int64)
            leading = np.zeros(end - first, np.int64)  # active ones before the first 0
            seen = 0
            for s in range(length):
                if not counted[b, s]:
                    continue
                row = bits[b, s, first:end]
                for some in range(0, end - first, _BESIDE):
                    if not _any(row[some : some + _BESIDE]):
                        continue
                    for n in range(some, min(some + _BESIDE, end - first)):
                        if row[n] == 0:
                            continue
                        value = values[b, s, first + n]
                        if value > up[n]:
                            up[n], up_at[n] = value, s
                        if value < down[n]:
                            down[n], down_at[n] = value, s
                        leading[n] += leading[n] == seen
                        active[n] += 1
                        counts[n, bin_table[(row[n] >> 21) & 2047]] += 1
                        _add_power(np.float64(value), powers, n)
                tokens[seen] = s
                seen += 1
            for n in range(end - first):
                if active[n] < seen:
                    counts[n, ZERO_BIN] += seen - active[n]
                    zero_at = tokens[leading[n]]
                    if up[n] < 0:
                        up[n], up_at[n] = 0, zero_at
                    if down[n] > 0:
                        down[n], down_at[n] = 0, zero_at
                high[first + n] = max(high[first + n], up[n])
                low[first + n] = min(low[first + n], down[n])
        sums[:, first:end] = powers
        _add_digits(powers, digits[:, first:end])


@numba.njit(inline="always", **_options)
def _any(row):  # type: ignore[no-untyped-def]
    found = np.int32(0)
    for bits in row:
        found |= bits
    return found != 0


@numba.njit(inline="always", **_options)
def _add_power(value, powers, n):  # type: ignore[no-untyped-def]
    square = value * value
    powers[0, n] += value
    powers[1, n] += square
    powers[2, n] += square * value
    powers[3, n] += square * square


@numba.njit(inline="always", **_options)
def _four_rows(matrix, t, first, end):  # type: ignore[no-untyped-def]
    # Not places in the matrix: only of rows of their own is it known that they are contiguous.
    return (
        matrix[t[0], first:end],
        matrix[t[1], first:end],
        matrix[t[2], first:end],
        matrix[t[3], first:end],
    )


@numba.njit(inline="always", **_options)
def _note_extremes(rows, tokens, most, most_at, least, least_at):  # type: ignore[no-untyped-def]
    for n in range(len(most)):
        high, high_at, low, low_at = most[n], most_at[n], least[n], least_at[n]
        for i in range(len(rows)):
            value, token = rows[i][n], np.int32(tokens[i])
            above, below = value > high, value < low
            high = value if above else high
            high_at = token if above else high_at
            low = value if below else low
            low_at = token if below else low_at
        most[n], most_at[n], least[n], least_at[n] = high, high_at, low, low_at


@numba.njit(inline="always", **_options)
def _add_powers(rows, powers):  # type: ignore[no-untyped-def]
    for n in range(powers.shape[1]):
        first, second, third, fourth = powers[0, n], powers[1, n], powers[2, n], powers[3, n]
        for i in range(len(rows)):
            value = np.float64(rows[i][n])
            square = value * value
            first += value
            second += square
            third += square * value
            fourth += square * square
        powers[0, n], powers[1, n], powers[2, n], powers[3, n] = first, second, third, fourth


@numba.njit(inline="always", **_options)
def _count_bins(rows, bin_table, counts):  # type: ignore[no-untyped-def]
    for n in range(len(counts)):
        for i in range(len(rows)):
            counts[n, bin_table[(rows[i][n] >> 21) & 2047]] += 1


@numba.njit(inline="always", **_options)
def _add_digits(sums, digits):  # type: ignore[no-untyped-def]
    """As `moments.Moments.add`."""
    bits = sums.view(np.int64)
    for power in range(len(sums)):
        for n in range(sums.shape[1]):
            exponent = ((bits[power, n] >> 52) & 2047) - 1023
            if exponent == 1024:  # NaN or infinite
                continue
            digit = max(exponent // DIGIT_BITS, LOWEST[power] + ADDEND_DIGITS - 1)
            first, rest = TOP[power] - digit, sums[power, n]
            for row in range(first, first + ADDEND_DIGITS):
                whole = np.trunc(rest / WEIGHTS[row])
                digits[row, n] += np.int64(whole)
                rest -= whole * WEIGHTS[row]


@numba.njit(parallel=True, **_options)
def note_firings(activations, tokens, sign, thresholds, found):  # type: ignore[no-untyped-def]
    """Which neurons fire at some tokens, a bit each, as numpy's packbits lays them.

    activations: (T, N) float32; tokens: (r,) int64; sign: float32, of the tail; thresholds: (N,)
    float32. Set: found (r, ⌈N / 8⌉) uint8.
    """
    for i in numba.prange(len(tokens)):
        row = activations[tokens[i]]
        for byte in range(found.shape[1]):
            first, bits = 8 * byte, np.int64(0)
            for n in range(first, min(first + 8, len(row))):
                bits |= np.int64(sign * row[n] > thresholds[n]) << (7 + first - n)
            found[i, byte] = bits
