"""Uploads as documents, where nobody else waits for it.

A small one is read here. Any other is first received, then read by a process of its own, which may
take so much processor time and no more: a few kilobytes may unpack to a billion lines. So small is
what has few bytes, lines and commas once it is unpacked. Knows no HTTP.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, NoReturn

from polyseme.contract import errors
from polyseme.contract.errors import Detail, MalformedRequest, TooLarge, Unavailable
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.contract.texts.read import open_content
from polyseme.contract.texts.recognise import is_parquet
from polyseme.service.http.thread_slots import TenantSlots
from polyseme.service.reading.documents import CHUNK, read_documents

SMALL_BYTES = 64 << 10  # as it came and unpacked
SMALL_PARTS = 4000  # line ends and commas in it: a few milliseconds
CPU_S = 300  # of one upload
_SIDE_BY_SIDE = 2  # processes that read
_WALL_S = 4 * CPU_S
_LOOK_S = 1.0  # between two looks whether somebody waits for it
_NICE = 10  # somebody waits for the other requests, too
# Its modules are loaded as nicely as it reads.
_READER = (
    f"import os; os.nice({_NICE}); import runpy; "
    "runpy.run_module('polyseme.service.reading.reader_process', run_name='__main__')"
)

Read = Callable[[int], bytes]


class UploadReader:
    """Thread-safe."""

    def __init__(self, slots: TenantSlots, folder: str) -> None:
        """slots: for uploads that are not small, until they are read."""
        self._slots = slots
        self._folder = Path(folder)
        self._processes = threading.Semaphore(_SIDE_BY_SIDE)
        self._here = threading.Lock()  # small ones, one after the other

    @contextmanager
    def documents(
        self,
        body: Read,
        reading: Reading,
        notes: Notes,
        *,
        name: str | None,
        max_documents: int,
        tenant: str,
        has_left: Callable[[], bool],
    ) -> Iterator[tuple[Corpus, IO[bytes]]]:
        """The corpus and its documents in a file that is gone afterwards.

        has_left: whether who sent it is gone; then it is not read to its end. Raises what
        `read_texts` and `write_documents` raise, Unavailable when too many are read.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        reading = replace(reading, folder=str(self._folder))
        with self._temporary() as raw, self._temporary() as file:
            size = _receive(body, raw, SMALL_BYTES + 1)
            if _is_small(raw, size, reading) and (
                corpus := self._read_here(raw, file, reading, notes, name, max_documents)
            ):
                yield corpus, file
                return
            with self._slot(tenant):
                raw.seek(0, os.SEEK_END)
                size += _receive(body, raw, reading.max_bytes + 1 - size)
                if size > reading.max_bytes:
                    raise TooLarge(f"the corpus has more than {reading.max_bytes} bytes unpacked")
                order = {"reading": asdict(reading), "name": name, "max_documents": max_documents}
                with self._turn(has_left):
                    corpus = _read_apart(raw, file, order, notes, has_left)
            yield corpus, file

    def _temporary(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)

    def _read_here(
        self,
        raw: IO[bytes],
        file: IO[bytes],
        reading: Reading,
        notes: Notes,
        name: str | None,
        max_documents: int,
    ) -> Corpus | None:
        """None when it is not small once unpacked."""
        most = min(SMALL_BYTES, reading.max_bytes)
        seen = Notes()
        try:
            with self._here:
                raw.seek(0)
                bounded = replace(reading, max_bytes=most)
                corpus = read_documents(
                    raw, file, bounded, seen, name=name, max_documents=max_documents
                )
        except TooLarge:
            if most == reading.max_bytes:
                raise
            file.seek(0)
            file.truncate()
            return None
        notes.bad_lines_skipped, notes.warnings = seen.bad_lines_skipped, seen.warnings
        return corpus

    @contextmanager
    def _slot(self, tenant: str) -> Iterator[None]:
        if not self._slots.acquire(tenant):
            raise Unavailable("too many uploads are being read; try again", retry_after_s=5)
        try:
            yield
        finally:
            self._slots.release(tenant)

    @contextmanager
    def _turn(self, has_left: Callable[[], bool]) -> Iterator[None]:
        while not self._processes.acquire(timeout=_LOOK_S):
            _check_is_there(has_left)
        try:
            yield
        finally:
            self._processes.release()


def _check_is_there(has_left: Callable[[], bool]) -> None:
    if has_left():
        raise MalformedRequest("nobody waits for this upload any more")


def _receive(body: Read, raw: IO[bytes], most: int) -> int:
    """Bytes that came, `most` or fewer."""
    size = 0
    while size < most and (chunk := body(min(CHUNK, most - size))):
        size += len(chunk)
        raw.write(chunk)
    raw.flush()
    return size


def _is_small(raw: IO[bytes], size: int, reading: Reading) -> bool:
    """Raises what `open_content` does."""
    if size > SMALL_BYTES:
        return False
    raw.seek(0)
    bounded = replace(reading, max_bytes=SMALL_BYTES)
    try:
        content = b"".join(open_content([raw.read()], bounded, Notes()))
    except TooLarge:
        return False
    # What is in Parquet is packed once more.
    return not is_parquet(content) and content.count(b"\n") + content.count(b",") <= SMALL_PARTS


def _read_apart(
    raw: IO[bytes],
    file: IO[bytes],
    order: dict[str, Any],
    notes: Notes,
    has_left: Callable[[], bool],
) -> Corpus:
    """Has a process read `raw` and write `file`."""
    raw.seek(0)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _READER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(raw.fileno(), file.fileno()),
        text=True,
    )
    order |= {"raw": raw.fileno(), "file": file.fileno(), "cpu_s": CPU_S}
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(_WALL_S, process.kill)
        watch.start()
        try:
            # The other end stays open: the process ends when this one does.
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            while not select.select([process.stdout], [], [], _LOOK_S)[0]:
                _check_is_there(has_left)
            answer = process.stdout.readline()
            if not answer:
                _raise_end(process.wait())
        finally:
            watch.cancel()
            process.kill()
    return _understand(answer, notes)


def _raise_end(code: int) -> NoReturn:
    """Of a process that gave no answer."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise TooLarge(
            f"the corpus takes more than {CPU_S} s of a processor, or more memory than there is, "
            f"to be read: send it in parts"
        )
    raise RuntimeError(f"the process that read an upload ended with {code}")


def _understand(answer: str, notes: Notes) -> Corpus:
    told = json.loads(answer)
    if "error" in told:
        kind: type[errors.PolysemeError] = getattr(errors, told["error"])
        raise kind(told["message"], details=tuple(Detail(*d) for d in told["details"]))
    notes.bad_lines_skipped, notes.warnings = told["bad_lines_skipped"], told["warnings"]
    return Corpus(**told["corpus"])
