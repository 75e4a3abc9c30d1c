"""How the command and a contender talk: lines of JSON on stdin and stdout, a round at a time.

Knows nothing of models. A contender's environment has its own packages, so this side of it needs
numpy alone.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

FEW_LAYERS = (0, 1, 2, 3)  # of whoever runs not all of them

_PEAK = re.compile(r"(?m)^VmHWM:\s+(\d+) kB$")
_LAST = 2000  # characters of what a contender wrote that an error shows
_END_S = 60.0


@dataclass(frozen=True)
class Task:
    """What a contender is to do. Paths are absolute."""

    model: str  # a folder: config.json, model.safetensors, a tokenizer
    texts: str  # JSONL, a document a line
    ids: str  # .npy, (windows, tokens of each) int64: what is run
    folder: str  # for what a round writes; it is empty at the start of each
    tokens: int  # of all windows together
    window: int  # tokens
    batch: int  # windows of a forward pass
    top_k: int
    layers: tuple[int, ...]
    neurons: int  # of each layer, the first ones


@dataclass(frozen=True)
class Round:
    seconds: float
    peak: int  # bytes resident at most, with code and weights
    added: int  # of them, those that were not resident when it began
    written: int  # bytes of files


# A way to do the task: writes its files into the folder, and returns what gives the largest
# activation of each neuron, (layers, neurons), or None where it finds none. What that costs is not
# timed.
Maxima = Callable[[], np.ndarray] | None
Way = Callable[[Path], Maxima]


# The contender's side


def serve(load: Callable[[Task], Mapping[str, Way]]) -> None:
    """A contender's whole life: gets ready, then runs a way for each line that asks for one, until
    there are no more.

    The first round of each way gives its maxima and is not to be counted: it warms up.
    """
    task = _read_task(sys.argv[1])
    with _private_stdout() as answers:
        ways = load(task)
        _say(answers, {"ways": list(ways), "resettable": _reset_peak()})
        for line in sys.stdin:
            asked = json.loads(line)
            done, maxima = _run_round(ways[asked["way"]], Path(task.folder))
            if asked["maxima"] and maxima is not None:
                np.save(asked["maxima"], maxima())
            del maxima
            _say(answers, asdict(done))


def _read_task(text: str) -> Task:
    data = json.loads(text)
    return Task(**data | {"layers": tuple(data["layers"])})


@contextmanager
def _private_stdout() -> Iterator[IO[str]]:
    """Gives stdout, and lets everything else that is printed meanwhile go to stderr: libraries
    print what they like.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        yield answers


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _run_round(way: Way, folder: Path) -> tuple[Round, Maxima]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _release_memory()
    held = _resident()
    _reset_peak()
    began = time.perf_counter()
    maxima = way(folder)
    seconds = time.perf_counter() - began
    peak = _peak()
    written = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    shutil.rmtree(folder)
    return Round(seconds, peak, max(peak - held, 0), written), maxima


def _release_memory() -> None:
    """Gives back what earlier rounds left, so that the next one's peak is its own."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_peak() -> bool:
    """Lets VmHWM begin at what is resident now.

    False where that is not allowed: then it counts from the start.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int:
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# The command's side


class Contender:
    """A running contender. Between rounds it waits and takes no time."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        ready = self._read()
        self.ways: list[str] = ready["ways"]
        self.resettable: bool = ready["resettable"]  # else peaks are those since its start

    def run(self, way: str, maxima: Path | None = None) -> Round:
        """maxima: a .npy to write the first round's findings to.

        Raises RuntimeError with its last words if it ends.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(
                json.dumps({"way": way, "maxima": str(maxima) if maxima else None}) + "\n"
            )
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which reading will tell
        return Round(**self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(_END_S)
            words = self._errors.read_text(errors="replace")[-_LAST:]
            raise RuntimeError(f"{self._process.args} ended with {code}:\n{words}")
        return json.loads(line)


@contextmanager
def running(python: Path, module: str, task: Task, threads: int) -> Iterator[Contender]:
    """A contender, loaded and ready; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as folder:
        errors = Path(folder) / "stderr"
        command = [str(python), "-m", module, json.dumps(asdict(task))]
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                command,
                stdin=-1,
                stdout=-1,
                stderr=stderr,
                text=True,
                env=_environment(threads),
                cwd=folder,
            )
        try:
            yield Contender(process, errors)
        finally:
            _end(process)


def _environment(threads: int) -> dict[str, str]:
    """This project on the path, so many threads for whoever asks, and no hub."""
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    here = Path(__file__).parents[2]
    return (
        os.environ
        | counts
        | {"PYTHONPATH": str(here), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    )


def _end(process: subprocess.Popen[str]) -> None:
    """Closes its stdin, at which it ends of itself, or kills it if it does not."""
    try:
        process.communicate(timeout=_END_S)
    except (subprocess.TimeoutExpired, ValueError):
        process.kill()
        process.wait()


def batches(ids: np.ndarray, size: int) -> Sequence[np.ndarray]:
    """The windows in their order, `size` at a time."""
    return [ids[first : first + size] for first in range(0, len(ids), size)]
