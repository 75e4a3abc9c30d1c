"""What the lists of a job's earlier shards hold, so that a later one keeps only what is better.

A neuron's best contexts of a corpus are among the best of each shard, and of a shard only those
count that the shards before it leave room for. So a scan's lists begin with the entries of one
before it: fewer contexts are copied, and a partial has a few in place of full lists. No result
depends on it: what was known decides what is left out of a partial, never what the partials
together give.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from polyseme.contract.errors import DamagedFile
from polyseme.contract.files.store import Store
from polyseme.workers.analysis.files.arrays import reading_arrays, write_arrays
from polyseme.workers.analysis.scan.layer_scan import LayerScan

_SUFFIX = ".npz"


def seed_lists(store: Store, work: str, shard: int, scans: Mapping[str, LayerScan]) -> None:
    """Fills the new lists of a shard's layers with what shards before it have found, as far as they
    say.

    Only shards before it: a shard that is scanned again, for want of its partial, is not to meet
    its own entries. scans: by what the names of their arrays begin with in files.
    """
    earlier = [number for number in _numbers(store, work) if number < shard]
    if not earlier:
        return
    # Where the file is damaged, or gone since, the lists of its other layers begin empty.
    with suppress(DamagedFile), reading_arrays(store, _file(work, max(earlier))) as file:
        for prefix, scan in scans.items():
            scan.fill({n.removeprefix(prefix): file(n) for n in file.names if n.startswith(prefix)})


def save_seed(store: Store, work: str, shard: int, scans: Mapping[str, LayerScan]) -> None:
    """Leaves what the lists of a shard's layers hold to later ones, who then need no earlier
    file.
    """
    arrays = (
        (f"{prefix}{name}", array)
        for prefix, scan in scans.items()
        for name, array in scan.seed().items()
    )
    write_arrays(store, _file(work, shard), arrays)
    for number in _numbers(store, work):
        if number < shard:
            store.delete(_file(work, number))


def _numbers(store: Store, work: str) -> list[int]:
    return [
        int(name.removesuffix(_SUFFIX))
        for name in store.names(f"{work}/known")
        if name.endswith(_SUFFIX)
    ]


def _file(work: str, shard: int) -> str:
    return f"{work}/known/{shard:06d}{_SUFFIX}"
