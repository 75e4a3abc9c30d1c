from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.corpus.plan import Plan, Shard
from polyseme.workers.analysis.senses.vectors import (
    REACH,
    around,
    project_vectors,
    read_around,
    read_vectors,
    vectors_file,
    writing_vectors,
)

LENGTHS = (np.array([5, 4, 4]), np.array([3, 2]))  # of the windows of two shards
PLAN = Plan(1, 5, 18, 18, 0, (Shard(0, 3, 13), Shard(3, 2, 5)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A vector for each token that says which one it is, in blocks of one or two windows."""
    store, token = Store(str(tmp_path)), 0
    for shard, lengths in enumerate(LENGTHS):
        with writing_vectors(store, vectors_file("work", shard)) as writer:
            for block in (lengths[:2], lengths[2:]):
                size = int(block.sum())
                writer.add(
                    "residual", np.arange(token, token + size, dtype=np.float32)[:, None] * [1, 2]
                )
                token += size
            writer.end(lengths)
    return store


def test_vectors_are_found_by_row_and_position(store: Store) -> None:
    rows, positions = np.array([0, 1, 2, 2, 3, 4]), np.array([4, 0, 1, 3, 0, 1])

    found = np.concatenate(list(read_vectors(store, "work", PLAN, "residual", rows, positions)))

    first = np.array([0, 5, 9, 13, 16])  # token of each row
    assert found.dtype == np.float16
    assert np.array_equal(found[:, 0], (first[rows] + positions).astype(np.float16))
    assert np.array_equal(found[:, 1], 2 * found[:, 0])


def test_only_the_blocks_that_are_needed_are_given(store: Store) -> None:
    pieces = list(read_vectors(store, "work", PLAN, "residual", np.array([2]), np.array([0])))

    assert [p.tolist() for p in pieces] == [[[9.0, 18.0]]]


def test_projected_vectors_are_found_at_the_same_places(store: Store) -> None:
    rows, positions = np.array([0, 2, 3, 4]), np.array([4, 3, 0, 1])
    for shard in range(len(LENGTHS)):
        project_vectors(
            store, "work", "projected", shard, lambda v, lengths: v[:, 1:] + len(lengths)
        )

    found = np.concatenate(
        list(read_vectors(store, "projected", PLAN, "projected", rows, positions))
    )

    before = np.concatenate(list(read_vectors(store, "work", PLAN, "residual", rows, positions)))
    blocks = np.array([2, 1, 2, 2])  # windows in each token's block
    assert np.array_equal(found, before[:, 1:] + blocks[:, None])


def test_around_a_token_is_the_mean_of_its_window_within_reach_but_for_the_first_token() -> None:
    lengths = np.array([3, 1, 2 * REACH + 50])
    vectors = np.random.default_rng(0).normal(size=(lengths.sum(), 2)).astype(np.float32)

    found = around(vectors, lengths)

    wide, last = vectors.astype(np.float64), 4
    assert np.allclose(found[:3], wide[1:3].mean(0), atol=1e-6)
    assert np.allclose(found[3], wide[3])  # alone in its window
    assert np.allclose(found[last], wide[last + 1 : last + REACH + 1].mean(0), atol=1e-6)
    middle = last + REACH + 20
    assert np.allclose(found[middle], wide[middle - REACH : middle + REACH + 1].mean(0), atol=1e-6)
    assert np.allclose(found[-1], wide[-1 - REACH :].mean(0), atol=1e-6)


def test_what_is_around_tokens_is_found_by_row_and_position(store: Store) -> None:
    rows, positions = np.array([0, 2, 2, 4]), np.array([4, 0, 3, 1])

    pieces = read_around(
        store, "work", PLAN, rows, positions, lambda v: v[:, :1].astype(np.float32)
    )

    vectors, means = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    expected = np.concatenate(list(read_vectors(store, "work", PLAN, "residual", rows, positions)))
    assert np.array_equal(vectors, expected)
    assert means.ravel().tolist() == [2.5, 11.0, 11.0, 17.0]


def test_what_float16_cannot_hold_is_kept_at_its_end(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with writing_vectors(store, vectors_file("work", 0)) as writer:
        writer.add("residual", np.array([[1e6, -1e6]], np.float32))
        writer.end(np.array([1]))

    plan = Plan(1, 1, 1, 1, 0, (Shard(0, 1, 1),))
    [found] = read_vectors(store, "work", plan, "residual", np.array([0]), np.array([0]))

    assert found.tolist() == [[65504.0, -65504.0]]


def test_a_cut_file_is_noticed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / vectors_file("work", 0)
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(DamagedFile):
        list(read_vectors(store, "work", PLAN, "residual", np.array([0]), np.array([0])))
