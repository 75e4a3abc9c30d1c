"""Arrays to a file and back, and files that something happened to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.files.arrays import partial_file, read_arrays, write_arrays

PATH = partial_file("work", 7)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "000/keys": rng.integers(-9, 9, (5, 3)),
        "000/display": rng.normal(size=(4, 2, 3)).astype(np.float16),
        "001/keys": np.zeros((0, 3), np.int64),
        "001/transposed": rng.normal(size=(6, 2)).T,
    }


def test_arrays_come_back_as_they_were(store: Store, arrays: dict[str, np.ndarray]) -> None:
    write_arrays(store, PATH, arrays)

    found = read_arrays(store, PATH)

    assert PATH == "work/partials/000007.npz"
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_prefix_chooses_and_is_left_out(store: Store, arrays: dict[str, np.ndarray]) -> None:
    write_arrays(store, PATH, arrays)

    assert set(read_arrays(store, PATH, "000/")) == {"keys", "display"}


def test_the_same_arrays_make_the_same_bytes(store: Store, arrays: dict[str, np.ndarray]) -> None:
    write_arrays(store, "a", arrays)
    write_arrays(store, "b", arrays)

    assert store.read("a") == store.read("b")


def test_a_flipped_byte_anywhere_in_the_data_is_noticed(store: Store) -> None:
    array = np.arange(40, dtype=np.int64)
    write_arrays(store, PATH, {"keys": array})
    whole = store.read(PATH)
    first = whole.index(array.tobytes())

    for place in range(first, first + array.nbytes, 13):
        store.write(PATH, whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DamagedFile, match="partials/000007"):
            read_arrays(store, PATH)


def test_a_flipped_bit_is_noticed_or_changes_nothing(
    store: Store, arrays: dict[str, np.ndarray]
) -> None:
    write_arrays(store, PATH, arrays)
    whole, path = store.read(PATH), Path(store.local_path(PATH))

    noticed = 0
    for bit in range(0, 8 * len(whole), 29):
        place = bit // 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit % 8]) + whole[place + 1 :])
        try:
            found = read_arrays(store, PATH)
        except DamagedFile:
            noticed += 1
            continue
        for name in found.keys() & arrays.keys():
            np.testing.assert_array_equal(found[name], arrays[name])
    assert noticed > len(whole) // 8


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_off_file_is_noticed(
    store: Store, arrays: dict[str, np.ndarray], share: float
) -> None:
    write_arrays(store, PATH, arrays)
    whole = store.read(PATH)
    store.write(PATH, whole[: int(share * len(whole))])

    with pytest.raises(DamagedFile, match="is damaged"):
        read_arrays(store, PATH)


def test_a_file_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(DamagedFile, match="is not there") as found:
        read_arrays(store, PATH)

    assert found.value.path == PATH


def test_an_array_that_is_listed_under_another_name_is_noticed(
    store: Store, arrays: dict[str, np.ndarray]
) -> None:
    write_arrays(store, PATH, arrays)
    whole = store.read(PATH)
    place = whole.rindex(b"000/display")
    store.write(PATH, whole[:place] + b"001/display" + whole[place + 11 :])

    with pytest.raises(DamagedFile, match="list of arrays"):
        read_arrays(store, PATH, "000/")
