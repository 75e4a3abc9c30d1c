"""The scan of one block on a CPU, compiled: one pass over the activations, then the lists. Arrays in, arrays changed.

Each neuron is the work of one thread, in the order of windows and tokens, so the number of threads changes nothing.
`scan.py` holds the same computation in plain torch, which other devices use and which this one is tested against.
"""

from __future__ import annotations

import numba
import numpy as np

_CHUNK = 64  # neurons at once: their sums and histograms stay in the cache
_EMPTY = np.iinfo(np.int64).min
_LOW = 0x7FFF_FFFF

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def reduce_block(activations, counted, bin_table, sums, histogram, high, high_at, low, low_at):  # type: ignore[no-untyped-def]
    """Everything that needs each activation once.

    activations: (B, S, N) float32; counted: (B, S) bool; bin_table: (2048,) int32, by a float32's upper 11 bits.
    Set: sums (4, N) float64, of the powers, not finite where an activation is not;
    high, low (B, N) float32 and where they are first reached, (B, N) int64.
    Added to: histogram (N, BINS) int64.
    """
    windows, length, neurons = activations.shape
    for chunk in numba.prange((neurons + _CHUNK - 1) // _CHUNK):
        first, end = chunk * _CHUNK, min((chunk + 1) * _CHUNK, neurons)
        sums[:, first:end] = 0.0
        for b in range(windows):
            high[b, first:end] = -np.inf
            low[b, first:end] = np.inf
            high_at[b, first:end] = 0
            low_at[b, first:end] = 0
            for s in range(length):
                if not counted[b, s]:
                    continue
                row = activations[b, s, first:end]
                _note_extremes(
                    row, s, high[b, first:end], high_at[b, first:end], low[b, first:end], low_at[b, first:end]
                )
                _add_powers(row, sums[:, first:end])
                _count_bins(row.view(np.int32), bin_table, histogram[first:end])


@numba.njit(inline="always", **_options)
def _note_extremes(row, s, high, high_at, low, low_at):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        value = row[n]
        above, below = value > high[n], value < low[n]
        high[n] = value if above else high[n]
        high_at[n] = s if above else high_at[n]
        low[n] = value if below else low[n]
        low_at[n] = s if below else low_at[n]


@numba.njit(inline="always", **_options)
def _add_powers(row, sums):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        value = np.float64(row[n])
        square = value * value
        sums[0, n] += value
        sums[1, n] += square
        sums[2, n] += square * value
        sums[3, n] += square * square


@numba.njit(inline="always", **_options)
def _count_bins(bits, bin_table, histogram):  # type: ignore[no-untyped-def]
    for n in range(len(bits)):
        histogram[n, bin_table[(bits[n] >> 21) & 2047]] += 1


@numba.njit(parallel=True, **_options)
def offer_peaks(bits, documents, numbers, distinct, keys, held_documents, floor, changed):  # type: ignore[no-untyped-def]
    """Offers each window's peak to its neuron's list.

    bits: (B, N) int32 of the peaks' float32; documents: (B, N) int32; numbers: (B,) int64. keys, held_documents:
    (N, K), floor (N,), as in `topk.TopLists`. Set: changed (N, K) int32, the window whose entry is new there, or -1.
    """
    for n in numba.prange(len(keys)):
        changed[n, :] = -1
        for b in range(len(bits)):
            raw = bits[b, n]
            if raw == -_LOW - 1:
                raw = np.int32(0)  # -0 is 0
            key = (np.int64(raw ^ ((raw >> 31) & _LOW)) << 32) + (_LOW - numbers[b])
            if key > floor[n]:
                _insert(key, documents[b, n], b, distinct, keys[n], held_documents[n], changed[n])
                floor[n] = keys[n].min()


@numba.njit(parallel=True, **_options)
def offer_samples(  # type: ignore[no-untyped-def]
    peaks, edges, priorities, documents, numbers, distinct, keys, held_documents, floor, changed, band_windows
):
    """Offers each window to the sample of the band that its peak lies in.

    peaks: (B, N) float32; edges: (N, bands - 1); priorities: (B,) int64; lists: N * bands of them, a neuron's together.
    Added to: band_windows (N, bands) int64.
    """
    neurons, bands = band_windows.shape
    for n in numba.prange(neurons):
        changed[n * bands : (n + 1) * bands] = -1
        for b in range(len(peaks)):
            peak = peaks[b, n]
            if not peak > 0:
                continue
            band = 0
            while band < bands - 1 and peak > edges[n, band]:
                band += 1
            band_windows[n, band] += 1
            at = n * bands + band
            key = (priorities[b] << 32) + (_LOW - numbers[b])
            if key > floor[at]:
                _insert(key, documents[b, n], b, distinct, keys[at], held_documents[at], changed[at])
                floor[at] = keys[at].min()


@numba.njit(inline="always", **_options)
def _insert(key, document, window, distinct, keys, documents, changed):  # type: ignore[no-untyped-def]
    """Puts the entry in place of one of the same document if that is worse, else, if there is none, of the worst."""
    slot = -1
    if distinct:
        for k in range(len(keys)):
            if documents[k] == document and keys[k] != _EMPTY:
                slot = k
    if slot < 0:
        slot = keys.argmin()
    if key > keys[slot]:
        keys[slot], documents[slot], changed[slot] = key, document, window
