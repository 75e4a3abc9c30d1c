"""Peak memory of a whole analysis in a process of its own, on a short text and on a long one.

Each length is a fresh process that does what `python -m polyseme.workers.analysis` does; its peak
resident set is what the kernel says (VmHWM) at its end.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpora import write_texts
from benchmarks.markdown import table
from polyseme.commands import samples

# The peak must be asked for from within: once a process has ended, /proc has it no more, and what
# `wait4` gives also counts the parent's memory at the time of the fork.
_CHILD = """
import sys
from polyseme.workers.analysis.__main__ import main
code = main(sys.argv[1:])
print(open("/proc/self/status").read())
sys.exit(code)
"""


@dataclass(frozen=True)
class Peak:
    tokens: int
    resident: int  # bytes
    result: int  # bytes of the files written
    seconds: float


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        help="lengths, the short one first",
    )
    parser.add_argument("--layers", default="all", help='"all", or ranges such as "0-3,14"')
    parser.add_argument("--tails", default="positive", help="positive, negative or both")
    parser.add_argument(
        "--cache", type=Path, default=Path("polyseme-data/cache"), help="of converted models"
    )


def run(options: argparse.Namespace) -> str:
    peaks = [_measure(tokens, options) for tokens in options.tokens]
    first = peaks[0]
    rows = [
        [
            f"{p.tokens:,} tokens",
            f"{p.resident / 2**20:,.0f}",
            f"{p.resident / first.resident:.3f}",
            f"{p.result / 2**20:,.0f}",
            f"{p.seconds:,.0f}",
        ]
        for p in peaks
    ]
    return "\n\n".join(
        [
            "## Memory",
            f"{samples.MODEL_ID}, float32 on the CPU; layers {options.layers}, tails "
            f"{options.tails}, everything else "
            "default; the time is from start to exit, with loading the model and the logit lens.",
            table(["", "peak RSS, MiB", "times the first", "result, MiB", "seconds"], rows),
        ]
    )


def _measure(tokens: int, options: argparse.Namespace) -> Peak:
    with tempfile.TemporaryDirectory(prefix="polyseme-bench-") as name:
        folder = Path(name)
        write_texts(folder / "texts.jsonl", tokens)
        request = _make_request(tokens, folder / "texts.jsonl", options)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        began = time.perf_counter()
        resident = _peak_of(
            [str(folder / "request.json"), "-o", str(folder / "result"), *_places(options)]
        )
        seconds = time.perf_counter() - began
        summary = json.loads((folder / "result/summary.json").read_text(encoding="utf-8"))
        size = sum(f.stat().st_size for f in (folder / "result").rglob("*") if f.is_file())
    return Peak(summary["tokens"], resident, size, seconds)


def _make_request(tokens: int, texts: Path, options: argparse.Namespace) -> dict[str, object]:
    return {
        "model": {"gguf": str(samples.find_model())},
        "corpus": {"path": str(texts)},
        "neurons": {"layers": options.layers},
        "contexts": {"tails": options.tails},
        "tokens": {"max_tokens": tokens},
    }


def _places(options: argparse.Namespace) -> list[str]:
    return ["--device", "cpu", "--cache", str(options.cache)]


def _peak_of(arguments: list[str]) -> int:
    """Bytes. Raises RuntimeError with what the process wrote when it fails."""
    command = [sys.executable, "-c", _CHILD, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"(?m)^VmHWM:\s+(\d+) kB$", ended.stdout)
    if ended.returncode or not found:
        raise RuntimeError(f"the analysis ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return int(found[1]) * 1024
