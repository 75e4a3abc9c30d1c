"""The scan of one block on a CPU, compiled: one pass over the activations, then the lists. Arrays in, arrays changed.

Each neuron is the work of one thread, in the order of windows and tokens, so the number of threads changes nothing.
`scan.py` holds the same computation in plain torch, which other devices use and which this one is tested against.
"""

from __future__ import annotations

import numba
import numpy as np

from workers.analysis.moments import WEIGHTS

_CHUNK = 64  # neurons at once: their sums and histograms stay in the cache
_TOGETHER = 4  # tokens at once
_EMPTY = np.iinfo(np.int64).min
_LOW = 0x7FFF_FFFF
_HALF_MOST, _HALF_NORMAL = 0x477F_E000, 0x3880_0000  # float32 bits of float16's largest and smallest normal number

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def reduce_block(  # type: ignore[no-untyped-def]
    values, bits, counted, bin_table, sums, digits, histogram, high, high_at, low, low_at
):
    """Everything that needs each activation once.

    values: (B, S, N) float32 activations; bits: the same as int32; counted: (B, S) bool; bin_table: (2048,) uint16, by
    a float32's upper 11 bits.
    Set: sums (4, N) float64, of the powers, not finite where an activation is not;
    high, low (B, N) float32 and where they are first reached, (B, N) int64.
    Added to: digits (DIGITS, 4, N) int64, the sums' as in `moments.Moments`, of no meaning where a sum is not finite;
    histogram (N, BINS) int32.
    """
    windows, length, neurons = values.shape
    for chunk in numba.prange((neurons + _CHUNK - 1) // _CHUNK):
        first, end = chunk * _CHUNK, min((chunk + 1) * _CHUNK, neurons)
        powers = np.zeros((4, end - first))
        most, least = np.empty(end - first, np.float32), np.empty(end - first, np.float32)
        most_at, least_at = np.empty(end - first, np.int32), np.empty(end - first, np.int32)
        counts = histogram[first:end]
        t = np.empty(_TOGETHER, np.int64)
        for b in range(windows):
            most[:], least[:] = -np.inf, np.inf
            most_at[:], least_at[:] = 0, 0
            held = 0
            for s in range(length):
                if not counted[b, s]:
                    continue
                t[held] = s
                held += 1
                if held == _TOGETHER:
                    four = _four_rows(values[b], t, first, end)
                    _note_extremes(four, (t[0], t[1], t[2], t[3]), most, most_at, least, least_at)
                    _add_powers(four, powers)
                    _count_bins(_four_rows(bits[b], t, first, end), bin_table, counts)
                    held = 0
            for i in range(held):
                one = (values[b, t[i], first:end],)
                _note_extremes(one, (t[i],), most, most_at, least, least_at)
                _add_powers(one, powers)
                _count_bins((bits[b, t[i], first:end],), bin_table, counts)
            high[b, first:end], high_at[b, first:end] = most, most_at
            low[b, first:end], low_at[b, first:end] = least, least_at
        sums[:, first:end] = powers
        _add_digits(powers, digits[:, :, first:end])


@numba.njit(inline="always", **_options)
def _four_rows(matrix, t, first, end):  # type: ignore[no-untyped-def]
    # Not places in the matrix: only of rows of their own is it known that they are contiguous.
    return matrix[t[0], first:end], matrix[t[1], first:end], matrix[t[2], first:end], matrix[t[3], first:end]


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
    for power in range(len(sums)):
        for n in range(sums.shape[1]):
            rest = sums[power, n]
            for i in range(len(digits)):
                digit = np.trunc(rest / WEIGHTS[i])
                digits[i, power, n] += np.int64(digit)
                rest -= digit * WEIGHTS[i]


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


@numba.njit(parallel=True, **_options)
def offer_entries(  # type: ignore[no-untyped-def]
    offered, offered_documents, distinct, keys, held_documents, floor, changed
):
    """Offers the entries of other lists, each to the list of the same number.

    offered: (L, J) int64 keys; offered_documents: (L, J) int32. Set: changed (L, K) int32, which of the J is new there,
    or -1.
    """
    for at in numba.prange(len(keys)):
        changed[at, :] = -1
        for j in range(offered.shape[1]):
            if offered[at, j] > floor[at]:
                document = offered_documents[at, j]
                _insert(offered[at, j], document, j, distinct, keys[at], held_documents[at], changed[at])
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


@numba.njit(parallel=True, **_options)
def keep_contexts(  # type: ignore[no-untyped-def]
    changed, values, bits, lengths, rows, positions, peaks, sign, row, position, peak, start, display
):
    """Copies what hangs on the entries that are new in their lists.

    changed: (L, K), as `offer_peaks` and `offer_samples` set it, a neuron's lists together; values: (B, S, N) float32
    activations; bits: the same as int32; lengths: (B,) int64; rows: (B,) int32; positions: (B, N) int64;
    peaks: (B, N), sign times the activation. Set: row, position, peak, start (L, K); display: (L, K, D), the bits of
    float16, int16.
    """
    each = len(changed) // peaks.shape[1]
    last = values.shape[1] - 1
    for at in numba.prange(len(changed)):
        n = at // each
        for k in range(changed.shape[1]):
            window = changed[at, k]
            if window < 0:
                continue
            place = positions[window, n]
            first = max(min(place - display.shape[2] // 2, lengths[window] - display.shape[2]), 0)
            row[at, k], position[at, k], start[at, k] = rows[window], place, first
            peak[at, k] = peaks[window, n] * sign
            for d in range(display.shape[2]):
                shown = min(first + d, last)
                display[at, k, d] = _to_half(values[window, shown, n], bits[window, shown, n])


@numba.njit(parallel=True, **_options)
def take_entries(  # type: ignore[no-untyped-def]
    changed, from_row, from_position, from_peak, from_start, from_display, row, position, peak, start, display
):
    """Copies what hangs on the entries that `offer_entries` took: both kinds of columns as in `keep_contexts`."""
    for at in numba.prange(len(changed)):
        for k in range(changed.shape[1]):
            j = changed[at, k]
            if j >= 0:
                row[at, k], position[at, k] = from_row[at, j], from_position[at, j]
                peak[at, k], start[at, k] = from_peak[at, j], from_start[at, j]
                display[at, k] = from_display[at, j]


@numba.njit(inline="always", **_options)
def _to_half(value, bits):  # type: ignore[no-untyped-def]
    """The bits of the float16 nearest to a float32, ties to even; the largest one beyond it. bits: of the value."""
    magnitude = bits & _LOW
    if magnitude >= _HALF_MOST:
        half = np.int32(0x7BFF)
    elif magnitude < _HALF_NORMAL:
        half = np.int32(np.rint(abs(value) * np.float32(2.0**24)))
    else:
        half = ((magnitude + 0xFFF + ((magnitude >> 13) & 1)) >> 13) - ((127 - 15) << 10)
    return np.int16(half | ((bits >> 16) & 0x8000))
