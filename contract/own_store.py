"""The store of a board: opened as the one whose id the board has."""

from __future__ import annotations

import logging

from polyseme.contract.board.registry import Registry
from polyseme.contract.errors import StoreTaken
from polyseme.contract.files.identity import IDENTITY_FILE, Identity, OtherStore
from polyseme.contract.files.store import Store

_FOLDERS = frozenset({"corpora", "results", "tenants", "vectors"})

log = logging.getLogger(__name__)


def open_store(url: str, registry: Registry) -> Store:
    """Raises StoreTaken when another board has the store.

    One that cannot be reached yet is no error: it is looked at again with every use.
    """

    def is_new() -> bool:
        if registry.is_store_made():
            return False
        # One made before stores had ids has files by now, if the board counts any.
        return not registry.counts_files() or not _FOLDERS.isdisjoint(Store(url).names(""))

    store = Store(url, Identity(registry.claim_store(), is_new, registry.note_store_made))
    try:
        store.check()
    except OtherStore as e:
        raise StoreTaken(
            f"{e}. Two services cannot share a store: give each its own, or stop the other and "
            f"remove {IDENTITY_FILE} from the store to hand it to this one"
        ) from e
    except OSError as e:
        log.warning("the store is away: %s", e)
    return store
