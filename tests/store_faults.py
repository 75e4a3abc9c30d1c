"""A store in a folder that goes away, in the ways in which that happens, and comes back.

What takes root or a device that is not there skips, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

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
    """As a file system becomes when its disk fails. For root, and a store on a mount of its own.

    A file that is open to be written keeps it from that, and a scan has one open all the time. Then
    a read-only mount of the same lies over it: no file appears, is renamed or removed.
    """
    try:
        remount(store, "ro")
    except OSError:
        _mount("--bind", store, store)
        try:
            remount(store, "bind,ro")
            yield
        finally:
            subprocess.run(["umount", "-l", store], check=True)
        return
    try:
        yield
    finally:
        remount(store, "rw")


@contextmanager
def empty_mount(store: Path) -> Iterator[None]:
    """An empty file system lies over it, as over a mount that failed. For root."""
    _mount("-t", "tmpfs", "tmpfs", store)
    try:
        yield
        assert list(store.rglob("*")) == []
    finally:
        subprocess.run(["umount", "-l", store], check=True)


@contextmanager
def hung(store: Path) -> Iterator[None]:
    """Whoever writes to it waits, and cannot even be killed. For a store of `on_loop_device`."""
    subprocess.run(["fsfreeze", "--freeze", store], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", store], check=True)


@contextmanager
def full(store: Path) -> Iterator[None]:
    """Not a byte fits, also once who could not write has removed what it had begun. For a store on
    a small file system of its own.
    """
    ballast, filled, over = store / "ballast", threading.Event(), threading.Event()

    def fill() -> None:
        with ballast.open("wb", buffering=0) as f:
            while not over.wait(0.02):
                with suppress(OSError):
                    while f.write(b"x" * 4096):
                        pass
                filled.set()

    filling = threading.Thread(target=fill)
    filling.start()
    filled.wait()
    try:
        yield
    finally:
        over.set()
        filling.join()
        ballast.unlink()


@contextmanager
def on_tmpfs(store: Path, size: str = "64m") -> Iterator[None]:
    """Mounts one on the folder. For root."""
    store.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", store)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", store], check=True)


@contextmanager
def on_loop_device(store: Path, size: int = 1 << 30) -> Iterator[None]:
    """Mounts an ext4 of so many bytes, in a file beside the folder. For root."""
    image = store.with_name(f"{store.name}.img")
    with image.open("wb") as f:
        f.truncate(size)
    try:
        if missing := [name for name in ("mkfs.ext4", "fsfreeze") if shutil.which(name) is None]:
            pytest.skip(f"needs {missing[0]}")
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        _mount("-o", "loop", image, store)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", store], check=True)
    finally:
        image.unlink()


def _mount(*arguments: str | Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")


def remount(store: Path, how: str) -> None:
    # A writer that is in the middle of a file keeps it from becoming read-only.
    for _ in range(50):
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


def replace(path: Path, content: bytes) -> None:
    """As another file: a hard link's other names stay as they are."""
    path.unlink()
    path.write_bytes(content)


def truncate(path: Path) -> None:
    replace(path, path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replace(path, bytes(content))


def delete(path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Callable[[Path], None], ...] = (delete, truncate, flip)  # of a file
