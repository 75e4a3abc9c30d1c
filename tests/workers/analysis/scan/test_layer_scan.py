"""The scan's two forms against each other, against plain Python, and against itself in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polyseme.contract.records.request import Tail
from polyseme.workers.analysis.corpus.plan import window_priority
from polyseme.workers.analysis.machine.threads import set_threads
from polyseme.workers.analysis.scan.layer_scan import LayerScan
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes, Sample
from polyseme.workers.analysis.scan.statistics.draws import Draws, draw_keys, unit_seeds
from polyseme.workers.analysis.scan.statistics.extremes import find_extremes, find_peaks
from polyseme.workers.analysis.scan.statistics.histogram import Histogram
from polyseme.workers.analysis.scan.statistics.top_lists import EMPTY
from tests.factories import make_request
from tests.workers.analysis.builders import (
    kernels_named,
    make_window,
    make_windows,
    needs_triton,
    random_activations,
    random_blocks,
)

ON_GPU = pytest.param("gpu", marks=needs_triton)
KERNELS = ["reference", "cpu", ON_GPU]
NEURONS = 70  # more than one chunk of the kernels
DEVICES = {"reference": "cpu", "cpu": "cpu", "gpu": "cuda" if torch.cuda.is_available() else "cpu"}
TAILS: tuple[Tail, ...] = ("positive", "negative")
SIZES = ListSizes(top=5, band=2, bands=3, display=4, distinct=True)


def make_edges() -> dict[Tail, np.ndarray | None]:
    """Ascending edges, on the steps of the activations too; one neuron without any."""
    edges = np.tile(np.array([[0.5, 1.5]], np.float32), (NEURONS, 1))
    edges[::7] = [0.7, 1.3]
    edges[3] = np.inf
    return {"positive": edges, "negative": edges / 2}


def make_draws() -> dict[Tail, Draws]:
    """Thresholds on the steps of the activations too; one neuron that never fires."""
    fires = np.full(NEURONS, 1.5, np.float32)
    fires[::7] = 0.7
    fires[3] = np.inf
    return {t: Draws(unit_seeds(2, np.arange(NEURONS), t), fires) for t in TAILS}


def make_scan(
    *, kernels: str, distinct: bool = True, sampled: str | None = "bands", shown: bool = False
) -> LayerScan:
    """sampled: bands or drawn."""
    samples: dict[Tail, Sample] = dict.fromkeys(TAILS)
    if sampled:
        samples |= make_edges() if sampled == "bands" else make_draws()
    sizes = replace(SIZES, distinct=distinct)
    if sampled == "drawn":
        sizes = replace(sizes, band=6, bands=1)
    if shown:
        sizes = replace(sizes, shown_top=3, shown_band=1 if sampled == "bands" else 2)
    return LayerScan(NEURONS, samples, sizes, DEVICES[kernels], kernels=kernels_named(kernels))


def scan_blocks(
    scan: LayerScan, blocks: Sequence[Block], activations: Sequence[Tensor]
) -> LayerScan:
    for block, values in zip(blocks, activations, strict=True):
        scan.update(block, values)
    return scan


def ranked(scan: LayerScan) -> dict[str, np.ndarray]:
    """Every list with its entries best first, and nothing where there is no entry."""
    found: dict[str, np.ndarray] = {}
    for tail, of_tail in scan.tails.items():
        for name, lists in of_tail.lists.items():
            order = lists.top.ranking().cpu().numpy()
            for column, array in lists.arrays().items():
                laid = np.take_along_axis(
                    array, order.reshape(*order.shape, *[1] * (array.ndim - 2)), 1
                )
                empty = np.take_along_axis(lists.top.keys.cpu().numpy(), order, 1) == EMPTY
                laid[empty] = EMPTY if column == "keys" else 0
                found[f"{tail}/{name}/{column}"] = laid
        found[f"{tail}/band_windows"] = of_tail.band_windows.cpu().numpy()
    return found


def assert_same(a: LayerScan, b: LayerScan) -> None:
    """Equal lists, histogram, extremes and band counts; moments are for the caller."""
    first, second = ranked(a), ranked(b)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    for one, other in (
        (a.statistics.histogram.counts, b.statistics.histogram.counts),
        (a.statistics.low, b.statistics.low),
        (a.statistics.high, b.statistics.high),
    ):
        assert torch.equal(one.cpu(), other.cpu())
    assert a.statistics.moments.count == b.statistics.moments.count


def assert_close_moments(a: LayerScan, b: LayerScan, tolerance: float) -> None:
    first, second = a.statistics.moments.compute(), b.statistics.moments.compute()
    for name, values in first.items():
        np.testing.assert_allclose(
            values, second[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


SAMPLED = [(None, False), (None, True), ("bands", False), ("drawn", True)]
EVERY = [(d, *s, step) for s in SAMPLED for d in (False, True) for step in (0.5, None)]
# Of the interpreter, which takes its time: any two values of two of them together.
HALF = [options for i, options in enumerate(EVERY) if (i % 4 in (0, 3)) == (i // 4 % 2 == 0)]
COMPARED = [("cpu", *options) for options in EVERY] + [
    pytest.param("gpu", *options, marks=needs_triton)
    for options in (EVERY if torch.cuda.is_available() else HALF)
]


@pytest.mark.parametrize(("kernels", "distinct", "sampled", "shown", "step"), COMPARED)
def test_the_kernels_and_plain_torch_keep_the_same(
    kernels: str, distinct: bool, sampled: str | None, shown: bool, step: float | None
) -> None:
    rows = 60 if kernels == "gpu" else 7  # an interpreter takes its time

    def scan_with(kernels: str) -> LayerScan:
        blocks = random_blocks(1, rows=rows, device=DEVICES[kernels])
        activations = random_activations(blocks, NEURONS, seed=1, step=step)
        return scan_blocks(
            make_scan(kernels=kernels, distinct=distinct, sampled=sampled, shown=shown),
            blocks,
            activations,
        )

    fast, plain = scan_with(kernels), scan_with("reference")

    assert_same(fast, plain)
    assert_close_moments(fast, plain, 1e-6)


def counted_values(
    block: Block, activations: Tensor
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each window: its number, its documents, the positions of its counted tokens, and their
    activations.
    """
    for b in range(len(block.ids)):
        at = np.flatnonzero(block.counted[b].cpu().numpy())
        yield (
            int(block.numbers[b]),
            block.documents[b].cpu().numpy(),
            at,
            activations[b].cpu().numpy()[at],
        )


def peaks_by_hand(
    blocks: Sequence[Block], activations: Sequence[Tensor], neuron: int, sign: float
) -> list[tuple[float, int, int, int]]:
    """(sign * activation, window, document, position) of the peak in each window."""
    peaks = []
    for block, values in zip(blocks, activations, strict=True):
        for number, documents, at, inside in counted_values(block, values):
            row = (sign * inside[:, neuron]).tolist()
            place = int(at[row.index(max(row))])
            peaks.append((max(row), number, int(documents[place]), place))
    return peaks


def first_of_documents(
    peaks: list[tuple[float, int, int, int]], k: int
) -> list[tuple[float, int, int, int]]:
    kept: list[tuple[float, int, int, int]] = []
    for peak in peaks:
        if peak[2] not in {p[2] for p in kept}:
            kept.append(peak)
    return kept[:k]


def listed(
    columns: dict[str, np.ndarray], prefix: str, row: int, sign: float
) -> list[tuple[float, int, int, int]]:
    keys = columns[f"{prefix}/keys"][row]
    windows = 0x7FFF_FFFF - (keys & 0xFFFF_FFFF)
    names = ("peak", "documents", "position")
    peak, document, position = (columns[f"{prefix}/{name}"][row] for name in names)
    rows = zip(sign * peak, windows, document, position, strict=True)
    return [
        (float(p), int(w), int(d), int(at))
        for (p, w, d, at), k in zip(rows, keys, strict=True)
        if k != EMPTY
    ]


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
@pytest.mark.parametrize(("tail", "sign"), [("positive", 1.0), ("negative", -1.0)])
def test_the_lists_are_those_of_a_plain_sort(kernels: str, tail: Tail, sign: float) -> None:
    blocks = random_blocks(2)
    activations = random_activations(blocks, NEURONS, seed=2)
    scan = scan_blocks(make_scan(kernels=kernels), blocks, activations)
    columns = ranked(scan)
    edges = make_edges()[tail]
    assert edges is not None

    for neuron in (0, 3, 7, NEURONS - 1):
        peaks = peaks_by_hand(blocks, activations, neuron, sign)
        best = sorted(peaks, key=lambda p: (-p[0], p[1]))
        assert listed(columns, f"{tail}/top", neuron, sign) == first_of_documents(best, SIZES.top)
        for band in range(SIZES.bands):
            inside = [p for p in peaks if p[0] > 0 and (p[0] > edges[neuron]).sum() == band]
            drawn = sorted(inside, key=lambda p: (-int(window_priority(np.array([p[1]]))[0]), p[1]))
            row = neuron * SIZES.bands + band
            assert listed(columns, f"{tail}/sample", row, sign) == first_of_documents(
                drawn, SIZES.band
            )
            assert columns[f"{tail}/band_windows"][neuron, band] == len(inside)


def drawn_by_hand(
    peaks: list[tuple[float, int, int, int]], neuron: int, tail: Tail
) -> list[tuple[float, int, int, int]]:
    """In the order of a / u, those that fire first; numpy's own float32 and unsigned numbers."""
    draws = make_draws()[tail]
    rated = []
    for peak in peaks:
        if peak[0] > 0:
            state = (int(draws.seeds[neuron]) + (peak[1] + 1) * 0x9E3779B97F4A7C15) % 2**64
            state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
            share = np.float32((((state ^ state >> 31) >> 40) + 1) / 2**24)
            rated.append((int(peak[0] > draws.fires[neuron]), np.float32(peak[0]) / share, peak))
    return [peak for *_, peak in sorted(rated, key=lambda r: (-r[0], -r[1], r[2][1]))]


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
@pytest.mark.parametrize(("tail", "sign"), [("positive", 1.0), ("negative", -1.0)])
def test_a_sample_by_activation_is_that_of_a_plain_sort(
    kernels: str, tail: Tail, sign: float
) -> None:
    blocks = random_blocks(2)
    activations = random_activations(blocks, NEURONS, seed=2)
    scan = scan_blocks(make_scan(kernels=kernels, sampled="drawn", shown=True), blocks, activations)
    columns = ranked(scan)

    for neuron in (0, 3, 7, NEURONS - 1):
        drawn = drawn_by_hand(peaks_by_hand(blocks, activations, neuron, sign), neuron, tail)
        expected = first_of_documents(drawn, 6)
        assert listed(columns, f"{tail}/sample", neuron, sign) == expected
        assert listed(columns, f"{tail}/shown/sample", neuron, sign) == expected[:2]


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
@pytest.mark.parametrize("scale", [1e-20, 1e12])
def test_what_does_not_fire_comes_behind_in_its_own_order(kernels: str, scale: float) -> None:
    blocks = random_blocks(2)
    activations = random_activations(blocks, NEURONS, seed=2, step=None)
    scaled = [values * scale for values in activations]

    def samples(scan: LayerScan, fires: float, values: Sequence[Tensor]) -> np.ndarray:
        for lists in scan.tails.values():
            lists.fires.fill_(fires)
        return ranked(scan_blocks(scan, blocks, values))["positive/sample/row"]

    def new() -> LayerScan:
        return make_scan(kernels=kernels, sampled="drawn")

    all_fire, none_fires = samples(new(), 0.0, scaled), samples(new(), np.inf, scaled)

    np.testing.assert_array_equal(all_fire, none_fires)
    assert (all_fire >= 0).all()
    assert samples(new(), 2.5 * scale, scaled).tolist() != all_fire.tolist()


def test_each_unit_and_tail_draws_anew_and_in_proportion_to_activation() -> None:
    numbers = torch.arange(4000)
    peaks = torch.ones(4000, 40)
    peaks[:1000] = 4.0
    units, drawn = np.arange(40), []
    for tail in TAILS:
        seeds = torch.from_numpy(unit_seeds(3, units, tail))
        keys = draw_keys(peaks, numbers, seeds, torch.zeros(40))
        drawn.append(keys.topk(60, 0).indices.T)

    both = torch.cat(drawn)  # (80, 60)
    shares = (both < 1000).float().mean(1)

    assert abs(float(shares.mean()) - 4 / 7) < 0.02
    assert float(shares.std()) == pytest.approx((4 / 7 * 3 / 7 / 60) ** 0.5, rel=0.25)
    common = [len(set(a.tolist()) & set(b.tolist())) for a, b in pairwise(both)]
    assert sum(common) / len(common) < 3  # 60 of about 4000
    np.testing.assert_array_equal(
        unit_seeds(3, units[7:9], "positive"), unit_seeds(3, units, "positive")[7:9]
    )
    assert (
        len(
            {
                *unit_seeds(3, units, "positive"),
                *unit_seeds(4, units, "positive"),
                *unit_seeds(3, units, "positive", 1),
            }
        )
        == 120
    )


@pytest.mark.parametrize("kernels", KERNELS)
def test_statistics_are_over_the_counted_tokens_alone(kernels: str) -> None:
    blocks = random_blocks(3, rows=120, device=DEVICES[kernels])
    activations = random_activations(blocks, NEURONS, seed=3, step=None)
    for block, values in zip(blocks, activations, strict=True):
        values[~block.counted] = 1e6
    counted = torch.cat([v[b.counted] for b, v in zip(blocks, activations, strict=True)])
    histogram = Histogram(NEURONS, DEVICES[kernels])
    histogram.update(counted)

    scan = scan_blocks(make_scan(kernels=kernels), blocks, activations)

    assert scan.statistics.moments.count == len(counted)
    assert torch.equal(scan.statistics.high, counted.amax(0))
    assert torch.equal(scan.statistics.low, counted.amin(0))
    assert torch.equal(scan.statistics.histogram.counts, histogram.counts)
    np.testing.assert_allclose(
        scan.statistics.moments.compute()["std"],
        counted.double().std(0, correction=0).cpu(),
        rtol=1e-6,
    )


def leave_out(block: Block, rng: np.random.Generator) -> tuple[Tensor, Block | None, Tensor]:
    """Tokens of a block to leave out, in some windows all; the block of what is left; and which
    windows that has.
    """
    tokens = torch.from_numpy(rng.random(tuple(block.ids.shape)) < 0.4)
    tokens[torch.from_numpy(rng.random(len(tokens)) < 0.3)] = True
    counted = block.counted.cpu() & ~tokens
    kept = counted.any(1).nonzero().squeeze(1)
    if not len(kept):
        return tokens, None, kept
    windows, laid = block.windows, []
    for i in kept.tolist():
        of = slice(windows.offsets[i], windows.offsets[i + 1])
        size, number = int(windows.lengths[i]), int(windows.number[i])
        ids, documents = windows.ids[of].tolist(), windows.documents[of].tolist()
        laid.append(
            make_window(number, ids, documents=documents, counted=counted[i, :size].tolist())
        )
    left = Block(make_windows(laid), 0, 0, block.ids.device)
    left.rows = block.rows[kept]
    return tokens, left, kept


@pytest.mark.parametrize(
    ("kernels", "sampled", "shown"),
    [
        *((kernels, *sample) for kernels in ("reference", "cpu") for sample in SAMPLED),
        pytest.param("gpu", "drawn", True, marks=needs_triton),
    ],
)
def test_tokens_left_out_of_a_layer_are_as_if_they_never_counted(
    kernels: str, sampled: str | None, shown: bool
) -> None:
    device, rng = DEVICES[kernels], np.random.default_rng(8)
    # An interpreter takes its time.
    windows = 6 if kernels == "gpu" and device == "cpu" else 60
    blocks = random_blocks(8, windows=windows, rows=3, device=device)
    activations = random_activations(blocks, NEURONS, seed=8)
    found, wanted = (make_scan(kernels=kernels, sampled=sampled, shown=shown) for _ in range(2))

    lost = 0
    for block, values in zip(blocks, activations, strict=True):
        tokens, left, kept = leave_out(block, rng)
        values[tokens.to(device) | ~block.inside] = torch.nan
        found.update(block.without(tokens.to(device)), values)
        lost += len(block.rows) - len(kept)
        if left is not None:
            wanted.update(left, values[kept, : left.ids.shape[1]].contiguous())

    assert lost >= windows // 6
    assert_same(found, wanted)
    assert_close_moments(found, wanted, 1e-12 if kernels == "cpu" else 1e-5)
    assert not found.statistics.nonfinite.any()


def test_a_block_of_which_nothing_is_left_out_is_itself() -> None:
    [block, *_] = random_blocks(2)

    assert block.without(~block.counted) is block


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
@pytest.mark.parametrize("cut", [0, 1, 9, 17])
@pytest.mark.parametrize(("sampled", "shown"), SAMPLED[2:])
def test_two_parts_merged_in_either_order_are_the_whole(
    kernels: str, cut: int, sampled: str, shown: bool
) -> None:
    blocks = random_blocks(4)
    activations = random_activations(blocks, NEURONS, seed=4)

    def new() -> LayerScan:
        return make_scan(kernels=kernels, sampled=sampled, shown=shown)

    whole = scan_blocks(new(), blocks, activations)
    first = scan_blocks(new(), blocks[:cut], activations[:cut])
    second = scan_blocks(new(), blocks[cut:], activations[cut:])

    for parts in ((first, second), (second, first)):
        merged = new()
        for part in parts:
            merged.merge(part.arrays())
        assert_same(merged, whole)
        assert torch.equal(merged.statistics.moments.digits, whole.statistics.moments.digits)


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("sampled", "shown"), SAMPLED[2:])
def test_parts_that_begin_with_what_is_known_keep_less_and_merge_to_the_whole(
    kernels: str, distinct: bool, sampled: str, shown: bool
) -> None:
    """Any part may begin with any others' lists, whichever is scanned first; here all with those of
    the first two.
    """

    def new(kernels: str) -> LayerScan:
        return make_scan(kernels=kernels, distinct=distinct, sampled=sampled, shown=shown)

    windows, rows = (36, 12) if kernels == "gpu" else (120, 7)
    blocks = random_blocks(7, windows=windows, rows=rows, device=DEVICES[kernels])
    activations = random_activations(blocks, NEURONS, seed=7)
    whole = scan_blocks(new(kernels), blocks, activations)
    known: dict[str, np.ndarray] = {}
    parts = []
    for block, values in zip(blocks, activations, strict=True):
        part = new(kernels)
        if known:
            part.fill(known)
        scan_blocks(part, [block], [values])
        if len(parts) < 2:
            known = part.seed()
        parts.append(part.arrays())

    merged = new("cpu")
    for arrays in reversed(parts):
        merged.merge(arrays)

    assert_same(merged, whole)
    alone = scan_blocks(new(kernels), blocks[2:3], activations[2:3]).arrays()
    names = [f"{tail}/{name}" for tail in TAILS for name in merged.tails[tail].lists]
    assert len(names) == (8 if shown else 4)
    for lists in names:
        assert (
            len(parts[2][f"{lists}/keys"])
            == parts[2][f"{lists}/counts"].sum()
            < len(alone[f"{lists}/keys"])
        )


def test_blocks_in_another_order_change_nothing() -> None:
    blocks = random_blocks(5)
    activations = random_activations(blocks, NEURONS, seed=5)

    there = scan_blocks(make_scan(kernels="cpu"), blocks, activations)
    back = scan_blocks(make_scan(kernels="cpu"), blocks[::-1], activations[::-1])

    assert_same(there, back)
    assert torch.equal(there.statistics.moments.digits, back.statistics.moments.digits)


@pytest.fixture
def threads() -> Iterator[Any]:
    """Sets the number of threads of both libraries, as far as there are so many; puts it back
    afterwards.
    """
    before = torch.get_num_threads()
    yield set_threads
    set_threads(before)


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
def test_the_number_of_threads_changes_nothing(kernels: str, threads: Any) -> None:
    blocks = random_blocks(6)
    activations = random_activations(blocks, NEURONS, seed=6, step=None)

    threads(1)
    alone = scan_blocks(make_scan(kernels=kernels), blocks, activations)
    threads(4)
    together = scan_blocks(make_scan(kernels=kernels), blocks, activations)

    assert_same(alone, together)
    assert torch.equal(alone.statistics.moments.digits, together.statistics.moments.digits)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of the interpreter
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_neuron_that_is_not_finite_is_noted_and_changes_no_other(
    kernels: str, bad: float
) -> None:
    blocks = random_blocks(4, windows=24, rows=12, device=DEVICES[kernels])
    activations = random_activations(blocks, NEURONS, seed=4)
    expected = scan_blocks(make_scan(kernels=kernels), blocks, activations)
    broken = [values.clone() for values in activations]
    where = blocks[0].counted.nonzero()[3].tolist()
    broken[0][where[0], where[1], NEURONS - 1] = bad

    found = scan_blocks(make_scan(kernels=kernels), blocks, broken)

    assert found.statistics.nonfinite.tolist() == [0] * (NEURONS - 1) + [1]
    assert not expected.statistics.nonfinite.any()
    others = slice(0, NEURONS - 1)
    for name, array in ranked(found).items():
        each = len(array) // NEURONS
        rows = slice(0, (NEURONS - 1) * each)
        np.testing.assert_array_equal(array[rows], ranked(expected)[name][rows], err_msg=name)
    digits = (scan.statistics.moments.digits[:, others] for scan in (found, expected))
    assert torch.equal(*digits)
    merged = make_scan(kernels="cpu")
    merged.merge(found.arrays())
    assert merged.statistics.nonfinite.tolist() == found.statistics.nonfinite.tolist()


@pytest.mark.parametrize("kernels", KERNELS)
def test_what_stands_in_the_padding_does_not_matter(kernels: str) -> None:
    block = Block(
        make_windows([make_window(0, [1, 2, 3]), make_window(1, [4])]), 0, 0, DEVICES[kernels]
    )
    activations = torch.ones(2, 3, NEURONS, device=DEVICES[kernels])
    activations[1, 1:] = torch.nan

    scan = scan_blocks(make_scan(kernels=kernels), [block], [activations])

    assert scan.statistics.moments.count == 4
    assert (scan.statistics.high == 1).all()


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("peak", "start"), [(0, 0), (2, 0), (3, 1), (7, 4)])
def test_the_tokens_shown_surround_the_peak_inside_the_window(
    kernels: str, peak: int, start: int
) -> None:
    block = Block(make_windows([make_window(0, range(8))]), 0, 0, DEVICES[kernels])
    activations = torch.arange(8.0, device=DEVICES[kernels])[None, :, None].repeat(1, 1, NEURONS)
    activations[0, peak] = 100.0

    top = (
        scan_blocks(make_scan(kernels=kernels), [block], [activations])
        .tails["positive"]
        .top.arrays()
    )

    at = top["keys"][0].argmax()
    assert top["start"][0, at] == start
    assert (
        top["display"][0, at].tolist() == activations[0, start : start + SIZES.display, 0].tolist()
    )


def test_a_block_is_laid_out_to_its_longest_window() -> None:
    windows = [
        make_window(7, [5, 6, 7], documents=[1, 1, 2], counted=[False, True, True]),
        make_window(4, [8]),
    ]

    block = Block(make_windows(windows), 40, 9, "cpu")

    assert block.ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert block.inside.tolist() == [[True] * 3, [True, False, False]]
    assert block.counted.tolist() == [[False, True, True], [True, False, False]]
    assert block.documents.tolist() == [[1, 1, 2], [0, 0, 0]]
    assert (block.rows.tolist(), block.numbers.tolist(), block.tokens) == ([40, 41], [7, 4], 4)
    assert block.counted_index.tolist() == [1, 2, 3]


def test_the_place_of_an_extreme_is_the_first_of_several() -> None:
    block = Block(
        make_windows([make_window(0, range(5), counted=[False, True, True, True, True])]),
        0,
        0,
        "cpu",
    )
    activations = torch.tensor([9.0, -1.0, 3.0, 3.0, -1.0])[None, :, None]

    found = find_extremes(block, activations)

    assert (found.high.item(), found.high_at.item()) == (3.0, 2)
    assert (found.low.item(), found.low_at.item()) == (-1.0, 1)


def test_peaks_are_of_counted_tokens_and_have_the_sign_of_their_tail() -> None:
    windows = make_windows(
        [make_window(i, range(3), counted=[i == 1, True, True]) for i in range(2)]
    )
    activations = torch.tensor([[9.0, 2.0, 4.0], [-8.0, -1.0, -2.0]])[:, :, None]

    block, every = Block(windows, 0, 0, "cpu"), Block(windows[1:], 0, 0, "cpu")

    assert find_peaks(block, activations, "positive").tolist() == [[4.0], [-1.0]]
    assert find_peaks(block, activations, "negative").tolist() == [[-2.0], [8.0]]
    assert find_peaks(every, activations[1:], "negative").tolist() == [[8.0]]


def test_lists_have_spare_places_only_where_copies_are_dropped() -> None:
    def sizes(**contexts: Any) -> ListSizes:
        return ListSizes.of(make_request(contexts=contexts))

    assert sizes() == ListSizes(75, 75, 1, 32, True, shown_top=25, shown_band=25)
    assert sizes(top_k=4, sampled=5, bands=5) == ListSizes(8, 2, 5, display=32, distinct=True)
    assert sizes(near_duplicates="keep", per_document=None) == ListSizes(
        60, 60, 1, 32, False, 20, 20
    )
    assert sizes(sampled=0).band == 0
    assert sizes(bands=5, shown=20) == ListSizes(75, 15, 5, 32, True, shown_top=25, shown_band=5)
    assert sizes(shown=0).shown_top == sizes(shown=0).shown_band == 0


def test_a_display_is_rounded_as_torch_rounds() -> None:
    bits = torch.arange(-(2**31), 2**31, 40_961, dtype=torch.int64).to(torch.int32)
    halves = torch.arange(0, 0x7BFF, dtype=torch.int16).view(torch.float16).float()
    ties = (halves[:-1] + halves[1:]) / 2
    values = torch.cat(
        [
            bits.view(torch.float32),
            halves,
            -halves,
            ties,
            -ties,
            torch.tensor([65504.0, 65519.0, 1e30]),
        ]
    )
    values = values[values.isfinite()]
    block = Block(make_windows([make_window(0, range(len(values)))]), 0, 0, "cpu")
    scan = LayerScan(
        1,
        {"positive": None},
        ListSizes(1, 0, 1, len(values), True),
        "cpu",
        kernels=kernels_named("cpu"),
    )

    scan.update(block, values.view(1, -1, 1))

    found = scan.tails["positive"].top.display.flatten()
    assert torch.equal(
        found.view(torch.int16), values.clamp(-65504, 65504).half().view(torch.int16)
    )


def test_activations_of_other_units_than_the_lists_are_refused() -> None:
    (block,) = random_blocks(0, windows=7, rows=7)
    scan = make_scan(kernels="cpu")

    with pytest.raises(ValueError, match="71 units for 70 lists"):
        scan.update(block, torch.zeros(*block.ids.shape, NEURONS + 1))
