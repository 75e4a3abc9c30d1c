"""Folders that are made once and kept.

Each is whole or not there, whoever is killed while making it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def make_once(folder: Path, write: Callable[[Path], None]) -> None:
    """Has `write` fill the folder, given an empty one, unless it is there.

    Several processes may do so at once.

    What killed ones left beside it is removed, unless another still writes there.
    """
    if folder.is_dir() and not _unfinished(folder.parent):
        return
    with _writing(folder.parent):
        if not folder.is_dir():
            _publish(folder, write)


def _unfinished(parent: Path) -> list[Path]:
    return list(parent.glob("*.tmp"))


@contextmanager
def _writing(parent: Path) -> Iterator[None]:
    """Holds the lock that all who write into a folder share: who gets it alone finds leftovers of
    the dead only.

    The kernel lets it go when its process ends. Where there are no locks, as on some network file
    systems, nothing is removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with parent.with_name(f"{parent.name}.lock").open("a") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for folder in _unfinished(parent):
                shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _publish(folder: Path, write: Callable[[Path], None]) -> None:
    temporary = folder.with_name(f"{folder.name}.{secrets.token_hex(6)}.tmp")
    temporary.mkdir()
    try:
        write(temporary)
        os.rename(temporary, folder)
    except OSError:
        # Another process may have been faster; its folder has the same content.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
