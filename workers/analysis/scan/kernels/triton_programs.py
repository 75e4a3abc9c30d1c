"""The programs that `gpu` launches. Which one does what depends on the shape of a block alone."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from polyseme.contract.files.results import MAGNITUDES
from polyseme.workers.analysis.scan.statistics import draws
from polyseme.workers.analysis.scan.statistics.histogram import FIRST, SHIFT
from polyseme.workers.analysis.scan.statistics.moments import ADDEND_DIGITS, DIGIT_BITS
from polyseme.workers.analysis.scan.statistics.top_lists import EMPTY

_EMPTY = tl.constexpr(EMPTY)
_FULL = tl.constexpr(torch.iinfo(torch.int64).max)
_LOW = tl.constexpr(0x7FFF_FFFF)
_LARGEST_HALF = tl.constexpr(65504.0)
_MAGNITUDES = tl.constexpr(MAGNITUDES)
_BINS = tl.constexpr(2 * MAGNITUDES)  # all but that of zero, which stands in the middle
_SHIFT, _FIRST = tl.constexpr(SHIFT), tl.constexpr(FIRST)
_ADDEND_DIGITS = tl.constexpr(ADDEND_DIGITS)
_DIGIT_SHIFT = tl.constexpr(DIGIT_BITS.bit_length() - 1)
# What a list of `offer` holds.
TOP, BANDS, DRAWN = 0, 1, 2
_BANDS, _DRAWN = tl.constexpr(BANDS), tl.constexpr(DRAWN)
_GAMMA = tl.constexpr(draws.GAMMA)
_FIRST_FACTOR, _SECOND_FACTOR = tl.constexpr(draws.FIRST), tl.constexpr(draws.SECOND)
_MASK_30, _MASK_27 = tl.constexpr(draws.MASK_30), tl.constexpr(draws.MASK_27)
_MASK_31, _LOW_24 = tl.constexpr(draws.MASK_31), tl.constexpr(draws.LOW_24)
_STEP, _BEHIND = tl.constexpr(draws.STEP), tl.constexpr(draws.BEHIND)
# Between these the powers of a window's peak, and their sums, are good float32 numbers.
_SMALL, _LARGE = tl.constexpr(2.0**-24), tl.constexpr(2.0**28)


@triton.jit
def reduce(  # type: ignore[no-untyped-def]
    activations,
    counted,
    high,
    low,
    high_at,
    low_at,
    sums,
    windows,
    length,
    neurons,
    each,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
):
    """A program: some windows of some neurons."""
    part = tl.program_id(1)
    n = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    rows = tl.arange(0, ROWS)
    real = n < neurons
    first = tl.zeros([ROWS, NEURONS], tl.float64)
    second, third, fourth = first, first, first
    for b in range(part * each, min((part + 1) * each, windows)):
        most = tl.full([ROWS, NEURONS], float("-inf"), tl.float32)
        least = tl.full([ROWS, NEURONS], float("inf"), tl.float32)
        most_at = tl.zeros([ROWS, NEURONS], tl.int32)
        least_at = tl.zeros([ROWS, NEURONS], tl.int32)
        sum1 = tl.zeros([ROWS, NEURONS], tl.float32)
        sum2, sum3, sum4 = sum1, sum1, sum1
        window = activations + tl.cast(b, tl.int64) * length * neurons
        for s in range(0, length, ROWS):
            t = s + rows
            taken = tl.load(counted + b * length + t, mask=t < length, other=0) != 0
            taken = taken[:, None] & real[None, :]
            x = tl.load(window + t[:, None] * neurons + n[None, :], mask=taken, other=0.0).to(
                tl.float32
            )
            above, below = taken & (x > most), taken & (x < least)
            most, most_at = tl.where(above, x, most), tl.where(above, s, most_at)
            least, least_at = tl.where(below, x, least), tl.where(below, s, least_at)
            square = x * x
            sum1 += x
            sum2 += square
            sum3 += square * x
            sum4 += square * square
        first += sum1.to(tl.float64)
        second += sum2.to(tl.float64)
        third += sum3.to(tl.float64)
        fourth += sum4.to(tl.float64)
        top, bottom = tl.max(most, 0), tl.min(least, 0)
        top_at = tl.min(tl.where(most == top[None, :], most_at + rows[:, None], length), 0)
        bottom_at = tl.min(tl.where(least == bottom[None, :], least_at + rows[:, None], length), 0)
        tl.store(high + b * neurons + n, top, mask=real)
        tl.store(low + b * neurons + n, bottom, mask=real)
        tl.store(high_at + b * neurons + n, top_at, mask=real)
        tl.store(low_at + b * neurons + n, bottom_at, mask=real)
    of_part = sums + part * 4 * neurons + n
    tl.store(of_part, tl.sum(first, 0), mask=real)
    tl.store(of_part + neurons, tl.sum(second, 0), mask=real)
    tl.store(of_part + 2 * neurons, tl.sum(third, 0), mask=real)
    tl.store(of_part + 3 * neurons, tl.sum(fourth, 0), mask=real)


@triton.jit
def rescale(  # type: ignore[no-untyped-def]
    activations,
    counted,
    high,
    low,
    sums,
    windows,
    length,
    neurons,
    each,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
):
    """A program: the windows and neurons of one of `reduce`, whose sums it makes again where a
    window's powers are too large or too small for float32: of activations divided by their peak.
    """
    part = tl.program_id(1)
    n = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    rows = tl.arange(0, ROWS)
    real = n < neurons
    end = min((part + 1) * each, windows)
    wanted = tl.zeros([NEURONS], tl.int32)
    for b in range(part * each, end):
        top = tl.load(high + b * neurons + n, mask=real, other=0.0)
        bottom = tl.load(low + b * neurons + n, mask=real, other=0.0)
        peak = tl.maximum(tl.abs(top), tl.abs(bottom))
        fits = (peak == 0) | ((peak >= _SMALL) & (peak <= _LARGE))
        wanted |= ((top >= bottom) & (fits == 0)).to(tl.int32)
    if tl.max(wanted, 0) > 0:
        first = tl.zeros([ROWS, NEURONS], tl.float64)
        second, third, fourth = first, first, first
        for b in range(part * each, end):
            top = tl.load(high + b * neurons + n, mask=real, other=0.0)
            bottom = tl.load(low + b * neurons + n, mask=real, other=0.0)
            peak = tl.maximum(tl.abs(top), tl.abs(bottom))
            exponent = (peak.to(tl.int32, bitcast=True) >> 23) - 127
            exponent = tl.minimum(tl.maximum(exponent, -126), 126)
            down = ((127 - exponent) << 23).to(tl.float32, bitcast=True)
            up = ((exponent.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
            sum1 = tl.zeros([ROWS, NEURONS], tl.float32)
            sum2, sum3, sum4 = sum1, sum1, sum1
            window = activations + tl.cast(b, tl.int64) * length * neurons
            for s in range(0, length, ROWS):
                t = s + rows
                taken = tl.load(counted + b * length + t, mask=t < length, other=0) != 0
                taken = taken[:, None] & real[None, :]
                x = tl.load(window + t[:, None] * neurons + n[None, :], mask=taken, other=0.0)
                x = x.to(tl.float32) * down[None, :]
                square = x * x
                sum1 += x
                sum2 += square
                sum3 += square * x
                sum4 += square * square
            up = up[None, :]
            first += sum1.to(tl.float64) * up
            second += sum2.to(tl.float64) * (up * up)
            third += sum3.to(tl.float64) * (up * up * up)
            fourth += sum4.to(tl.float64) * (up * up * up * up)
        of_part = sums + part * 4 * neurons + n
        again = real & (wanted > 0)
        tl.store(of_part, tl.sum(first, 0), mask=again)
        tl.store(of_part + neurons, tl.sum(second, 0), mask=again)
        tl.store(of_part + 2 * neurons, tl.sum(third, 0), mask=again)
        tl.store(of_part + 3 * neurons, tl.sum(fourth, 0), mask=again)


@triton.jit
def count(  # type: ignore[no-untyped-def]
    activations,
    counted,
    histogram,
    tokens,
    neurons,
    each,
    TOKENS: tl.constexpr,
    NEURONS: tl.constexpr,
    SHARED: tl.constexpr,
):
    """A program: some tokens of some neurons."""
    first = tl.program_id(1) * each
    n = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    real = n < neurons
    row = histogram + n * (_BINS + 1)
    counts = tl.zeros([NEURONS * _BINS], tl.int32)
    zeros = tl.zeros([NEURONS], tl.int32)
    for s in range(first, min(first + each, tokens), TOKENS):
        t = s + tl.arange(0, TOKENS)
        taken = tl.load(counted + t, mask=t < tokens, other=0) != 0
        taken = taken[:, None] & real[None, :]
        at = t.to(tl.int64)[:, None] * neurons + n[None, :]
        x = tl.load(activations + at, mask=taken, other=0.0).to(tl.float32)
        bits = x.to(tl.int32, bitcast=True) & _LOW
        magnitude = tl.minimum(tl.maximum((bits >> _SHIFT) - _FIRST, 0), _MAGNITUDES - 1)
        bins = tl.where(x > 0, _MAGNITUDES + magnitude, _MAGNITUDES - 1 - magnitude)
        # Zeros, which some activation functions give for most tokens, are counted here.
        held = taken & (x != 0)
        zeros += tl.sum(taken.to(tl.int32) - held.to(tl.int32), 0)
        if SHARED:
            bins += tl.arange(0, NEURONS)[None, :] * _BINS
            flat = tl.reshape(bins, [TOKENS * NEURONS])
            counts += tl.histogram(flat, NEURONS * _BINS, mask=tl.reshape(held, [TOKENS * NEURONS]))
        else:
            tl.atomic_add(row[None, :] + bins + (x > 0).to(tl.int32), 1, mask=held, sem="relaxed")
    tl.atomic_add(row + _MAGNITUDES, zeros, mask=real, sem="relaxed")
    if SHARED:
        of_bins = tl.reshape(counts, [NEURONS, _BINS])
        bins = tl.arange(0, _BINS)
        bins += (bins >= _MAGNITUDES).to(tl.int32)
        found = real[:, None] & (of_bins > 0)
        tl.atomic_add(row[:, None] + bins[None, :], of_bins, mask=found, sem="relaxed")


@triton.jit
def finish(  # type: ignore[no-untyped-def]
    high,
    low,
    sums,
    weights,
    tops,
    bottoms,
    digits,
    highest,
    lowest,
    nonfinite,
    windows,
    neurons,
    parts,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
):
    """A program: some neurons. Puts what the programs of `reduce` found to what there was."""
    n = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    real = n < neurons
    most = tl.load(highest + n, mask=real, other=0.0)
    least = tl.load(lowest + n, mask=real, other=0.0)
    for first in range(0, windows, ROWS):
        b = first + tl.arange(0, ROWS)
        both = (b < windows)[:, None] & real[None, :]
        at = b[:, None] * neurons + n[None, :]
        most = tl.maximum(most, tl.max(tl.load(high + at, mask=both, other=float("-inf")), 0))
        least = tl.minimum(least, tl.min(tl.load(low + at, mask=both, other=float("inf")), 0))
    tl.store(highest + n, most, mask=real)
    tl.store(lowest + n, least, mask=real)
    for power in range(4):
        rest = tl.zeros([NEURONS], tl.float64)
        for first in range(0, parts, ROWS):
            part = first + tl.arange(0, ROWS)
            both = (part < parts)[:, None] & real[None, :]
            of_parts = sums + (part * 4 + power)[:, None] * neurons + n[None, :]
            rest += tl.sum(tl.load(of_parts, mask=both, other=0.0), 0)
        # What is not finite makes NaN of this, which differs from 0.
        broken = rest - rest != 0
        tl.store(nonfinite + n, 1, mask=real & broken)
        rest = tl.where(broken, 0.0, rest)
        exponent = ((rest.to(tl.int64, bitcast=True) >> 52) & 2047) - 1023
        lowest_digit = tl.load(bottoms + power) + _ADDEND_DIGITS - 1
        row = tl.load(tops + power) - tl.maximum(exponent >> _DIGIT_SHIFT, lowest_digit)
        for _ in range(_ADDEND_DIGITS):
            weight = tl.load(weights + row)
            digit = (rest / weight).to(tl.int64)
            at_digit = digits + row * neurons + n
            tl.store(at_digit, tl.load(at_digit, mask=real, other=0) + digit, mask=real)
            rest -= digit.to(tl.float64) * weight
            row += 1


@triton.jit
def offer(  # type: ignore[no-untyped-def]
    activations,
    numbers,
    priorities,
    lengths,
    rows,
    documents,
    extremes,
    places,
    edges,
    band_windows,
    seeds,
    fires,
    keys,
    held_documents,
    floor,
    row,
    position,
    peak,
    start,
    display,
    windows,
    length,
    neurons,
    k,
    shown,
    bands,
    sign,
    NEURONS: tl.constexpr,
    WINDOWS: tl.constexpr,
    SLOTS: tl.constexpr,
    KIND: tl.constexpr,
    COUNTS: tl.constexpr,
    DISTINCT: tl.constexpr,
):
    """A program: all windows, and one list of each of some neurons."""
    band = tl.program_id(1)
    n = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    real = n < neurons
    b = tl.arange(0, WINDOWS)
    inside = b < windows
    both = inside[:, None] & real[None, :]
    peaks = sign * tl.load(extremes + b[:, None] * neurons + n[None, :], mask=both, other=0.0)
    low = _LOW - tl.load(numbers + b, mask=inside, other=0)
    if KIND == _BANDS:
        which = tl.zeros([WINDOWS, NEURONS], tl.int32)
        for e in range(bands - 1):
            edge = tl.load(edges + n * (bands - 1) + e, mask=real, other=float("inf"))
            which += (peaks > edge[None, :]).to(tl.int32)
        both &= (peaks > 0) & (which == band)
        if COUNTS:
            of_band = band_windows + n * bands + band
            held_windows = tl.load(of_band, mask=real, other=0)
            tl.store(of_band, held_windows + tl.sum(both.to(tl.int64), 0), mask=real)
        drawn = (tl.load(priorities + b, mask=inside, other=0) << 32) + low
        key = tl.where(both, drawn[:, None], _EMPTY)
    elif KIND == _DRAWN:
        steps = (tl.load(numbers + b, mask=inside, other=0) + 1) * _GAMMA
        state = tl.load(seeds + n, mask=real, other=0)[None, :] + steps[:, None]
        state = (state ^ ((state >> 30) & _MASK_30)) * _FIRST_FACTOR
        state = (state ^ ((state >> 27) & _MASK_27)) * _SECOND_FACTOR
        state = state ^ ((state >> 31) & _MASK_31)
        share = (((state >> 40) & _LOW_24) + 1).to(tl.float32) * _STEP
        # Rounded as everywhere else: a plain division is only nearly right.
        weighed = tl.div_rn(peaks, share).to(tl.int32, bitcast=True).to(tl.int64)
        threshold = tl.load(fires + n, mask=real, other=float("inf"))
        weighed = tl.where(peaks > threshold[None, :], weighed, weighed - _BEHIND)
        key = tl.where(both & (peaks > 0), (weighed << 32) + low[:, None], _EMPTY)
    else:
        bits = (peaks + 0.0).to(tl.int32, bitcast=True)
        bits = tl.where(peaks == 0, 0, bits)  # -0 is 0
        ordered = bits ^ ((bits >> 31) & _LOW)
        key = tl.where(both, (ordered.to(tl.int64) << 32) + low[:, None], _EMPTY)

    slots = tl.arange(0, SLOTS)
    entries = (n * bands + band)[:, None] * k + slots[None, :]
    kept = real[:, None] & (slots < k)[None, :]
    held = tl.load(keys + entries, mask=kept, other=_FULL)
    of_document = tl.load(held_documents + entries, mask=kept, other=-2)
    lowest = tl.load(floor + n * bands + band, mask=real, other=_FULL)
    came = tl.full([NEURONS, SLOTS], -1, tl.int32)  # from which window
    # The best first, of each list one a turn; in the long run hardly any is left to begin with.
    key = tl.where(key > lowest[None, :], key, _EMPTY)
    best = tl.max(key, 0)
    while tl.max(best, 0) > _EMPTY:
        offered = best > _EMPTY
        is_best = (key == best[None, :]) & offered[None, :]
        window = tl.sum(tl.where(is_best, b[:, None], 0), 0)
        place = tl.load(places + window * neurons + n, mask=offered, other=0)
        document = tl.load(documents + window * length + place, mask=offered, other=0)
        here = held == lowest[:, None]
        if DISTINCT:
            same = of_document == document[:, None]
            here = tl.where((tl.max(same.to(tl.int32), 1) > 0)[:, None], same, here)
        slot = tl.min(tl.where(here, slots[None, :], SLOTS), 1)
        entered = (slots[None, :] == slot[:, None]) & offered[:, None] & (best[:, None] > held)
        held = tl.where(entered, best[:, None], held)
        of_document = tl.where(entered, document[:, None], of_document)
        came = tl.where(entered, window[:, None], came)
        lowest = tl.min(held, 1)
        key = tl.where(is_best | (key <= lowest[None, :]), _EMPTY, key)
        best = tl.max(key, 0)

    new = kept & (came >= 0)
    if tl.max(tl.max(new.to(tl.int32), 1), 0) > 0:
        window = tl.where(new, came, 0)
        place = tl.load(places + window * neurons + n[:, None], mask=new, other=0)
        room = tl.load(lengths + window, mask=new, other=0).to(tl.int32) - shown
        begin = tl.maximum(tl.minimum(place - shown // 2, room), 0)
        tl.store(keys + entries, held, mask=new)
        tl.store(held_documents + entries, of_document, mask=new)
        tl.store(floor + n * bands + band, lowest, mask=real)
        tl.store(row + entries, tl.load(rows + window, mask=new, other=0), mask=new)
        tl.store(position + entries, place, mask=new)
        tl.store(
            peak + entries,
            tl.load(extremes + window * neurons + n[:, None], mask=new, other=0.0),
            mask=new,
        )
        tl.store(start + entries, begin, mask=new)
        for d in range(shown):
            token = tl.minimum(begin + d, length - 1)
            at = (window.to(tl.int64) * length + token) * neurons + n[:, None]
            x = tl.load(activations + at, mask=new, other=0.0).to(tl.float32)
            x = tl.minimum(tl.maximum(x, -_LARGEST_HALF), _LARGEST_HALF)
            tl.store(display + entries.to(tl.int64) * shown + d, x.to(tl.float16), mask=new)
