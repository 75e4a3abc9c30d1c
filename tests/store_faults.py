"""A store in a folder that goes away, in the ways in which that happens, and comes back."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

Fault = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def unmounted(store: Path) -> Iterator[None]:
    """An empty folder lies where it was. What is written there would be lost."""
    aside = store.with_name(f"{store.name}-aside")
    store.rename(aside)
    store.mkdir()
    try:
        yield
        assert list(store.rglob("*")) == []
    finally:
        store.rmdir()
        aside.rename(store)


@contextmanager
def broken(store: Path) -> Iterator[None]:
    """Whatever is asked of it is answered with an error."""
    aside = store.with_name(f"{store.name}-aside")
    store.rename(aside)
    store.write_text("in the way")
    try:
        yield
    finally:
        store.unlink()
        aside.rename(store)


@contextmanager
def read_only(store: Path) -> Iterator[None]:
    """As a file system becomes when its disk fails. For root, and a store of `on_tmpfs`."""
    remount(store, "ro")
    try:
        yield
    finally:
        remount(store, "rw")


@contextmanager
def on_tmpfs(store: Path, size: str = "64m") -> Iterator[None]:
    """Mounts one on the folder. For root."""
    store.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", store], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", store], check=True)


def remount(store: Path, how: str) -> None:
    # A writer that is in the middle of a file keeps it from becoming read-only.
    for _ in range(200):
        if subprocess.run(["mount", "-o", f"remount,{how}", store], capture_output=True).returncode:
            threading.Event().wait(0.02)
        else:
            return
    raise OSError(f"{store} could not be remounted {how}")


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"]).returncode == 0


@contextmanager
def back_after(fault: AbstractContextManager[None], seconds: float) -> Iterator[None]:
    """The fault begins at once and ends by itself, in the middle of the block."""
    fault.__enter__()
    timer = threading.Timer(seconds, fault.__exit__, (None, None, None))
    timer.start()
    try:
        yield
    finally:
        timer.join()
