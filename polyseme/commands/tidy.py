"""`polyseme tidy`: files of the store that nothing on the board speaks of.

A process that was killed between writing files and noting them, or a Redis that was put back from
an older backup, leaves some. It speaks to Redis, not to the API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyseme.commands.accounts import AsJson, Data, RedisUrl
from polyseme.commands.verify import Results, StoreUrl, open_results

if TYPE_CHECKING:
    from collections.abc import Callable

_DATA = Path("polyseme-data")
# What is younger may be about to be noted: an upload writes its corpus first.
_YOUNG_S = 3600.0


@dataclass(frozen=True)
class Orphan:
    path: str  # in the store
    bytes: int
    why: str


def find_orphans(results: Results, *, younger_than_s: float = _YOUNG_S) -> Iterator[Orphan]:
    """Folders of jobs, corpora and sets of directions that the board does not know, and files that
    were never finished, if nothing in them was written for `younger_than_s` seconds.
    """
    before = time.time() - younger_than_s
    unknown = list(_unknown_folders(results))
    folders = tuple(f"{path}/" for path, _ in unknown)
    unfinished = [path for path in results.store.list_unfinished() if not path.startswith(folders)]
    for path, why in (*unknown, *((path, "never finished") for path in unfinished)):
        size, modified = results.store.measure(path)
        if modified <= before:
            yield Orphan(path, size, why)


def _unknown_folders(results: Results) -> Iterator[tuple[str, str]]:
    from polyseme.contract.files.store import Layout
    from polyseme.contract.names import DEFAULT_TENANT

    store, board = results.store, results.board
    for folder, of_job in (("results", Layout.result), (Layout.WORK, Layout.work)):
        yield from _without(store.names(folder), of_job, board.jobs.exists, "no such job")
    for tenant in (DEFAULT_TENANT, *store.names("tenants")):
        for what, place, has in (
            ("corpus", Layout.corpus, board.registry.has_corpus),
            ("vectors", Layout.vector_set, board.registry.has_vectors),
        ):
            own, is_known = partial(place, tenant=tenant), partial(has, tenant=tenant)
            names = store.names(own("").rstrip("/"))
            yield from _without(names, own, is_known, f"no such {what} of the tenant {tenant}")


def _without(
    names: list[str], path: Callable[[str], str], is_known: Callable[[str], bool], why: str
) -> Iterator[tuple[str, str]]:
    yield from ((path(name), why) for name in names if not is_known(name))


def tidy(
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them. Without it they are only listed.")
    ] = False,
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List files of the store that belong to nothing on the board; with --delete remove them."""
    found, total = 0, 0
    with open_results(data, redis_url, store) as results:
        for orphan in list(find_orphans(results)):
            if delete:
                results.store.delete(orphan.path)
            found, total = found + 1, total + orphan.bytes
            if as_json:
                print(json.dumps(asdict(orphan) | {"deleted": delete}))
            else:
                print(f"{orphan.path}  {orphan.bytes:,} bytes  {orphan.why}")
    if not as_json:
        what = "1 folder or file" if found == 1 else f"{found} folders or files"
        said = "removed" if delete else "that nothing speaks of"
        print(f"{what}, {total:,} bytes, {said}.")
