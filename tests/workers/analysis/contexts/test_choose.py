"""Which contexts a neuron is left with, and where they lie in their documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyseme.contract.files.results import report_file
from polyseme.contract.records.request import Contexts
from polyseme.workers.analysis.contexts.choose import (
    NEAR,
    NEAR_SHARE,
    TOP,
    Candidates,
    Choice,
    build_table,
    choose_contexts,
    join_tables,
    near_tokens,
    rank_candidates,
)
from polyseme.workers.analysis.corpus.windows import Windows
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.scan.kernels import reference
from polyseme.workers.analysis.scan.statistics.context_lists import ListSizes, TailLists
from polyseme.workers.analysis.scan.statistics.extremes import find_extremes
from tests.factories import make_request
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import (
    make_window,
    make_windows,
    random_activations,
    random_blocks,
)

DISPLAY = 4
BANDS: dict[str, Any] = {"sampling": "interval", "bands": 2}


def make_candidates(
    bands: Sequence[int], windows: Sequence[int], positions: Sequence[int] | None = None
) -> Candidates:
    """One neuron's candidates; -1 as window where there is none. A window's row is its number."""
    window = np.array([windows], np.int64)
    position = np.array([positions or [0] * len(windows)], np.int32)
    return Candidates(
        band=np.array(bands, np.int32),
        held=window >= 0,
        window=window,
        document=window.astype(np.int32),
        row=window.astype(np.int32),
        position=position,
        peak=np.arange(len(windows), 0, -1, dtype=np.float32)[None],
        displayed=np.arange(len(windows)),
        start=np.zeros_like(position),
        display=np.zeros((*window.shape, DISPLAY), np.float16),
    )


def distinct_windows(count: int) -> Windows:
    """Windows that have no token in common."""
    return make_windows([make_window(i, range(20 * i, 20 * i + 20)) for i in range(count)])


def choose(candidates: Candidates, windows: Windows, **contexts: Any) -> Choice:
    near = near_tokens(candidates, windows, np.arange(len(windows)))
    return choose_contexts(candidates, near, Contexts(**contexts))


def test_a_list_ends_at_what_was_asked_for() -> None:
    candidates = make_candidates([TOP] * 4 + [1] * 3 + [0] * 3, [0, 1, 2, 3, 4, 5, 6, 7, -1, 8])

    choice = choose(candidates, distinct_windows(9), top_k=3, sampled=4, **BANDS)

    assert choice.kept[0].tolist() == [True] * 3 + [False] + [True, True, False] + [
        True,
        False,
        True,
    ]
    assert choice.near_duplicates.tolist() == [0]


def test_a_window_in_the_top_list_is_not_sampled_again_and_another_takes_its_place() -> None:
    candidates = make_candidates([TOP, TOP, 0, 0, 0], [0, 1, 1, 0, 2])

    choice = choose(candidates, distinct_windows(3), top_k=2, sampled=1)

    assert choice.kept[0].tolist() == [True, True, False, False, True]
    assert choice.near_duplicates.tolist() == [0]


@pytest.mark.parametrize(("changed", "kept"), [(0, False), (3, False), (4, True)])
def test_contexts_that_agree_in_four_of_five_places_are_copies(changed: int, kept: bool) -> None:
    ids = list(range(100, 100 + 2 * NEAR + 1))
    copy = [-i for i in range(1, changed + 1)] + ids[changed:]
    windows = make_windows([make_window(0, ids), make_window(1, [abs(i) for i in copy])])
    candidates = make_candidates([TOP, TOP], [0, 1], [NEAR, NEAR])

    choice = choose(candidates, windows, top_k=2, sampled=0)

    assert choice.kept[0].tolist() == [True, kept]
    assert choice.near_duplicates.tolist() == [int(not kept)]


def test_places_outside_of_one_window_disagree() -> None:
    long, short = list(range(100, 110)), list(range(100, 107))
    windows = make_windows([make_window(0, long), make_window(1, short), make_window(2, short)])

    apart = choose(make_candidates([TOP, TOP], [0, 1], [3, 3]), windows, top_k=2, sampled=0)
    alike = choose(make_candidates([TOP, TOP], [1, 2], [3, 3]), windows, top_k=2, sampled=0)
    shifted = choose(make_candidates([TOP, TOP], [1, 2], [3, 4]), windows, top_k=2, sampled=0)

    assert apart.kept.sum() == 2
    assert alike.kept.sum() == 1
    assert shifted.kept.sum() == 2


def test_copies_are_kept_when_told_and_replaced_by_spare_ones_when_not() -> None:
    ids = list(range(20))
    windows = make_windows(
        [make_window(0, ids), make_window(1, ids), make_window(2, range(50, 70))]
    )
    candidates = make_candidates([TOP] * 3, [0, 1, 2])

    dropped = choose(candidates, windows, top_k=2, sampled=0)
    kept = choose(candidates, windows, top_k=2, sampled=0, near_duplicates="keep")

    assert (dropped.kept[0].tolist(), dropped.near_duplicates.tolist()) == (
        [True, False, True],
        [1],
    )
    assert (kept.kept[0].tolist(), kept.near_duplicates.tolist()) == ([True, True, False], [0])


def test_a_list_that_is_full_counts_no_more_copies() -> None:
    ids = list(range(20))
    windows = make_windows([make_window(i, ids) for i in range(3)])

    choice = choose(make_candidates([TOP] * 3, [0, 1, 2]), windows, top_k=1, sampled=0)

    assert choice.near_duplicates.tolist() == [0]


def choose_by_hand(
    candidates: Candidates, near: np.ndarray, contexts: Contexts
) -> tuple[list[list[int]], list[int]]:
    """The kept candidates and the copies of each neuron, as the docstrings say."""
    kept: list[list[int]] = []
    copies = []
    for n in range(len(candidates.held)):
        mine: list[int] = []
        left_out = 0
        for m, band in enumerate(candidates.band.tolist()):
            wanted = contexts.top_k if band == TOP else contexts.sampled // contexts.bands
            full = sum(candidates.band[k] == band for k in mine) >= wanted
            if (
                full
                or not candidates.held[n, m]
                or candidates.window[n, m] in candidates.window[n, mine]
            ):
                continue
            if any(is_copy(near[n, k].tolist(), near[n, m].tolist()) for k in mine):
                left_out += 1
            else:
                mine.append(m)
        kept.append(mine)
        copies.append(left_out)
    return kept, copies


def is_copy(a: list[int], b: list[int]) -> bool:
    inside = [(x, y) for x, y in zip(a, b, strict=True) if x >= 0 or y >= 0]
    return sum(x == y for x, y in inside) >= NEAR_SHARE * len(inside)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_that_of_a_plain_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows = make_windows(
        [make_window(i, rng.integers(0, 2, rng.integers(3, 30)).tolist()) for i in range(40)]
    )
    bands = [TOP] * 8 + [1] * 6 + [0] * 6
    row = rng.integers(0, 40, (30, len(bands)))
    candidates = Candidates(
        band=np.array(bands, np.int32),
        held=rng.random(row.shape) < 0.9,
        window=row,
        document=row.astype(np.int32),
        row=row.astype(np.int32),
        position=rng.integers(0, windows.lengths[row]).astype(np.int32),
        peak=np.ones(row.shape, np.float32),
        displayed=np.arange(len(bands)),
        start=np.zeros(row.shape, np.int32),
        display=np.zeros((*row.shape, DISPLAY), np.float16),
    )
    near = near_tokens(candidates, windows, np.arange(40))
    near[:, 1::3] = near[:, ::3][:, : near[:, 1::3].shape[1]]
    near[rng.random(near.shape) < 0.1] = 7

    choice = choose_contexts(candidates, near, Contexts(top_k=6, sampled=8, **BANDS))

    kept, copies = choose_by_hand(candidates, near, Contexts(top_k=6, sampled=8, **BANDS))
    assert [np.flatnonzero(k).tolist() for k in choice.kept] == kept
    assert choice.near_duplicates.tolist() == copies
    assert sum(copies) > 20


def test_the_tokens_near_a_peak_end_with_its_window() -> None:
    windows = make_windows([make_window(0, [5, 6]), make_window(1, [7, 8, 9]), make_window(2, [3])])

    near = near_tokens(make_candidates([TOP], [1], [2]), windows, np.arange(3))

    assert near[0, 0].tolist() == [-1] * (NEAR - 2) + [7, 8, 9] + [-1] * NEAR


def test_candidates_are_the_top_list_and_then_the_sample_from_the_strongest_band() -> None:
    blocks = random_blocks(1)
    sizes = ListSizes(top=5, band=3, bands=2, display=DISPLAY, distinct=False)
    scan = TailLists(4, "positive", np.full((4, 1), 1.0, np.float32), sizes, "cpu")
    for block, values in zip(blocks, random_activations(blocks, 4, seed=1), strict=True):
        reference.offer(block, values, find_extremes(block, values), "positive", scan)

    ranked = rank_candidates(scan, np.zeros(4, bool))

    assert ranked.band.tolist() == [TOP] * 5 + [1] * 3 + [0] * 3
    assert ranked.held.all()
    assert (np.diff(ranked.peak[:, :5], axis=1) <= 0).all()
    assert (ranked.peak[:, 5:8] > 1).all()
    assert ((ranked.peak[:, 8:] > 0) & (ranked.peak[:, 8:] <= 1)).all()


def test_a_neuron_that_is_not_finite_has_no_candidates() -> None:
    (block,) = random_blocks(1, windows=7)
    sizes = ListSizes(top=2, band=0, bands=1, display=DISPLAY, distinct=False)
    scan = TailLists(4, "positive", None, sizes, "cpu")
    (values,) = random_activations([block], 4, seed=1)
    reference.offer(block, values, find_extremes(block, values), "positive", scan)

    ranked = rank_candidates(scan, np.array([False, True, False, False]))

    assert ranked.held.any(1).tolist() == [True, False, True, True]


def test_a_table_has_what_is_shown_and_no_token_beyond_the_window() -> None:
    windows = make_windows(
        [make_window(0, [10, 11]), make_window(1, [20, 21, 22, 23, 24], starts=[0, 3, 6, 9, 12])]
    )
    candidates = make_candidates([TOP, TOP, 0], [1, 0, -1], [4, 1, 0])
    candidates.start[:] = [[1, 0, 0]]
    candidates.display[:] = 0.5
    choice = Choice(*np.array([[[True, True, False]]] * 2), np.zeros(1, np.int32))

    table = build_table("positive", "interval", candidates, choice, windows, np.arange(2))

    assert table.peak_token.tolist() == [24, 11]
    assert (table.char_start.tolist(), table.char_end.tolist()) == ([12, 1], [13, 2])
    assert table.display_offsets.tolist() == [0, 4, 6]
    assert table.tokens.tolist() == [21, 22, 23, 24, 10, 11]
    assert table.activations.tolist() == [0.5, 0.5, 0.5, 3.0, 0.5, 2.0]
    assert table.sample.tolist() == ["top", "top"]


def test_joined_tables_are_by_neuron_and_keep_their_tokens() -> None:
    windows = distinct_windows(4)

    def table(tail: Any, numbers: list[int]) -> Any:
        candidates = make_candidates([TOP], [0])
        columns = {
            k: v if k in ("band", "displayed") else np.repeat(v, 2, 0)
            for k, v in vars(candidates).items()
        }
        columns["row"] = np.array(numbers, np.int32)[:, None]
        choice = Choice(*np.ones((2, 2, 1), bool), np.zeros(2, np.int32))
        return build_table(tail, "interval", Candidates(**columns), choice, windows, np.arange(4))

    joined, offsets = join_tables([table("positive", [0, 1]), table("negative", [2, 3])], 3)

    assert joined.neuron.tolist() == [0, 0, 1, 1]
    assert joined.tail.tolist() == ["positive", "negative"] * 2
    assert offsets.tolist() == [0, 2, 4, 4]
    assert joined.tokens.reshape(4, DISPLAY)[:, 0].tolist() == [0, 40, 20, 60]


TEXTS = [
    "The quick brown fox 🦊 jumps; naïve café 日本 in 1996.",
    "👩‍👩‍👧 heard 12 cases, then fell again over the lazy dog.",
    "Prices rose by 3.5 % over the year 🚀🚀, then the court heard 47 neurons fire.",
    *(
        f"{i}: a neuron fires when its input {'matches' * (i % 3)} what it has learnt 🧠"
        for i in range(20)
    ),
]


@pytest.mark.parametrize("packing", ["document", "concat"])
def test_offsets_point_at_the_peak_token_in_the_document(tmp_path: Path, packing: str) -> None:
    model = load_tiny("llama", tmp_path / "model")
    request = make_request(
        model=model.card.id,
        neurons={"layers": [1]},
        contexts={"window": 16, "packing": packing, "tails": "both"},
    )
    run_analysis(model, request, TEXTS, tmp_path / "run", limits=Limits(shard_tokens=100))

    reports = pq.read_table(tmp_path / "run" / report_file(1), columns=["contexts"]).to_pylist()

    contexts = [c for report in reports for c in report["contexts"]]
    assert len(contexts) > 1000
    pieces = set()
    for c in contexts:
        token = c["tokens"][c["position"] - c["display_start"]]
        piece, marked = (
            model.vocabulary[token],
            TEXTS[c["document"]][c["char_start"] : c["char_end"]],
        )
        assert marked == piece if "<0x" not in piece else len(marked) >= 1
        assert c["text"] in TEXTS[c["document"]]
        assert c["text"][c["peak_start"] : c["peak_end"]] == marked
        assert "\ufffd" not in c["text"]
        assert c["activations"][c["position"] - c["display_start"]] == c["activation"]
        pieces.add(marked)
    assert pieces & {"🦊", "🚀", "🧠", "👩", "👧"}
