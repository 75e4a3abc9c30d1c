"""Lists on a CPU, compiled by numba: windows and entries are offered, and payloads copied.

Arrays in, arrays changed. Each list is the work of one thread.
"""

from __future__ import annotations

import numba
import numpy as np

from polyseme.workers.analysis.scan.statistics.draws import (
    BEHIND,
    FIRST,
    GAMMA,
    LOW_24,
    MASK_27,
    MASK_30,
    MASK_31,
    SECOND,
    STEP,
)

_CHUNK = 64  # neurons at once
_LOW = 0x7FFF_FFFF
# float32 bits of float16's largest and smallest normal number
_HALF_MOST, _HALF_NORMAL = 0x477F_E000, 0x3880_0000

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@numba.njit(parallel=True, **_options)
def offer_block(  # type: ignore[no-untyped-def]
    activations,
    block,
    distinct,
    active_only,
    sign,
    extremes,
    places,
    tail,
):
    """Offers each window of a block to the lists of each neuron.

    activations: as in `reduce_block`; block: numbers, priorities, lengths (B,) int64, rows (B,)
    int32, documents (B, S) int32; active_only: windows whose peak is not above 0 are passed over;
    sign: of the tail; extremes, places: (B, N) float32 and int32.
    Changed: tail: edges (N, bands - 1) float32, band_windows (N, bands) int64, seeds (N,) int64 and
    fires (N,) float32 as in `draws.Draws`, the top lists and those of the sample, N * bands, a
    neuron's together, then what is shown of both; without bands and seeds nothing is sampled. Lists
    are keys (L, K) int64, documents (L, K) int32, floor (L,) as in `top_lists.TopLists`, then row,
    position, peak, start (L, K) and display (L, K, D) int16, the bits of float16.
    """
    windows, neurons = extremes.shape
    for chunk in numba.prange((neurons + _CHUNK - 1) // _CHUNK):
        first, end = chunk * _CHUNK, min((chunk + 1) * _CHUNK, neurons)
        for b in range(windows):
            own, at = extremes[b, first:end], places[b, first:end]
            _offer_window(b, first, sign, own, at, activations, block, distinct, active_only, tail)


@numba.njit(**_options)
def _offer_window(  # type: ignore[no-untyped-def]
    b,
    first,
    sign,
    extremes,
    places,
    activations,
    block,
    distinct,
    active_only,
    tail,
):
    """Offers window b to the lists of the neurons from the first on, and to the samples of the
    bands it lies in.
    """
    numbers, priorities, _, _, documents = block
    edges, band_windows, seeds, fires = tail[:4]
    top, sample, shown_top, shown_sample = tail[4:12], tail[12:20], tail[20:28], tail[28:]
    bands = band_windows.shape[1]
    drawn = (priorities[b] << 32) + (_LOW - numbers[b])
    step = (numbers[b] + 1) * GAMMA
    peaks = np.float32(sign) * extremes
    bits = peaks.view(np.int32)
    for i in range(len(peaks)):
        n, peak, place = first + i, peaks[i], places[i]
        if active_only and not peak > 0:
            continue
        document = documents[b, place]
        key = _key_of(bits[i], numbers[b])
        if key > top[2][n]:
            where = (b, n, place, extremes[i], activations, block)
            _offer_context(key, document, distinct, top, shown_top, n, where)
        if bands and peak > 0:
            band = 0
            while band < bands - 1 and peak > edges[n, band]:
                band += 1
            band_windows[n, band] += 1
            at = n * bands + band
            if drawn > sample[2][at]:
                where = (b, n, place, extremes[i], activations, block)
                _offer_context(drawn, document, distinct, sample, shown_sample, at, where)
        if len(seeds) and peak > 0:
            key = _draw(peak, seeds[n] + step, fires[n]) + (_LOW - numbers[b])
            if key > sample[2][n]:
                where = (b, n, place, extremes[i], activations, block)
                _offer_context(key, document, distinct, sample, shown_sample, n, where)


@numba.njit(**_options)
def _offer_context(key, document, distinct, lists, shown, at, where):  # type: ignore[no-untyped-def]
    """Offers a window to list `at`, and with what is shown of it to the shorter one beside it,
    whose entries are all in the longer one.
    """
    slot = _offer(key, document, distinct, lists, at)
    if slot >= 0:
        _keep_context(where, lists, at, slot)
        if len(shown[0]):
            slot = _offer(key, document, distinct, shown, at)
            if slot >= 0:
                _keep_context(where, shown, at, slot)


@numba.njit(inline="always", **_options)
def _draw(peak, state, threshold):  # type: ignore[no-untyped-def]
    """The upper half of a key, as `draws.draw_keys`."""
    state = (state ^ ((state >> 30) & MASK_30)) * FIRST
    state = (state ^ ((state >> 27) & MASK_27)) * SECOND
    state = state ^ ((state >> 31) & MASK_31)
    share = np.float32(((state >> 40) & LOW_24) + 1) * np.float32(STEP)
    bits = np.int64(np.float32(peak / share).view(np.int32))
    return (bits if peak > threshold else bits - BEHIND) << 32


@numba.njit(inline="always", **_options)
def _key_of(raw, number):  # type: ignore[no-untyped-def]
    """As `top_lists.encode_keys`. raw: the bits of a float32."""
    if raw == -_LOW - 1:
        raw = np.int32(0)  # -0 is 0
    return (np.int64(raw ^ ((raw >> 31) & _LOW)) << 32) + (_LOW - number)


@numba.njit(parallel=True, **_options)
def offer_entries(offsets, offered, offered_documents, distinct, lists, changed):  # type: ignore[no-untyped-def]
    """Offers the entries of other lists, each to the list of the same number.

    offsets: (L + 1,) int64, where each list's begin; offered: (E,) int64 keys; offered_documents:
    (E,) int32; lists: as in `offer_block`. Set: changed (L, K) int64, which of the E is new there,
    or -1.
    """
    for at in numba.prange(len(changed)):
        changed[at, :] = -1
        for j in range(offsets[at], offsets[at + 1]):
            slot = _offer(offered[j], offered_documents[j], distinct, lists, at)
            if slot >= 0:
                changed[at, slot] = j


@numba.njit(inline="always", **_options)
def _offer(key, document, distinct, lists, at):  # type: ignore[no-untyped-def]
    """Puts the entry in place of one of the same document if that is worse, else, if there is none,
    of the worst.

    Returns its slot in list `at`, or -1.
    """
    keys, documents, floor = lists[0][at], lists[1][at], lists[2]
    if key <= floor[at]:
        return -1
    slot = _find(documents, document) if distinct else -1
    if slot < 0:
        slot = _find(keys, floor[at])
    if key <= keys[slot]:
        return -1
    keys[slot], documents[slot] = key, document
    least = keys[0]  # in a loop of its own: numba's `min` takes far longer
    for k in range(1, len(keys)):
        least = min(least, keys[k])
    floor[at] = least
    return slot


@numba.njit(inline="always", **_options)
def _find(values, wanted):  # type: ignore[no-untyped-def]
    for k in range(len(values)):
        if values[k] == wanted:
            return k
    return -1


@numba.njit(**_options)
def _keep_context(where, lists, at, slot):  # type: ignore[no-untyped-def]
    """Copies the payload of a new entry: neuron n's peak in a window, in a slot of list `at`."""
    window, n, place, extreme, activations, block = where
    _, _, lengths, rows, _ = block
    values, bits = activations
    row, position, peak, start, display = lists[3:]
    last, shown = values.shape[1] - 1, display.shape[2]
    first = max(min(place - shown // 2, lengths[window] - shown), 0)
    row[at, slot], position[at, slot], start[at, slot], peak[at, slot] = (
        rows[window],
        place,
        first,
        extreme,
    )
    # Unsigned, so that no index is checked for a sign.
    inside, inside_bits, out, n = values[window], bits[window], display[at, slot], np.uint64(n)
    for d in range(shown):
        token = np.uint64(min(first + d, last))
        out[d] = _to_half(inside[token, n], inside_bits[token, n])


@numba.njit(parallel=True, **_options)
def take_entries(  # type: ignore[no-untyped-def]
    changed,
    from_row,
    from_position,
    from_peak,
    from_start,
    from_display,
    row,
    position,
    peak,
    start,
    display,
):
    """Copies the payload of the entries that `offer_entries` took: both kinds of columns as in
    `offer_block`.
    """
    for at in numba.prange(len(changed)):
        for k in range(changed.shape[1]):
            j = changed[at, k]
            if j >= 0:
                row[at, k], position[at, k] = from_row[j], from_position[j]
                peak[at, k], start[at, k] = from_peak[j], from_start[j]
                display[at, k] = from_display[j]


@numba.njit(inline="always", **_options)
def _to_half(value, bits):  # type: ignore[no-untyped-def]
    """The bits of the float16 nearest to a float32, ties to even; the largest one beyond it. bits:
    of the value.
    """
    magnitude = bits & _LOW
    if magnitude >= _HALF_MOST:
        half = np.int32(0x7BFF)
    elif magnitude < _HALF_NORMAL:
        half = np.int32(np.rint(abs(value) * np.float32(2.0**24)))
    else:
        half = ((magnitude + 0xFFF + ((magnitude >> 13) & 1)) >> 13) - ((127 - 15) << 10)
    return np.int16(half | ((bits >> 16) & 0x8000))
