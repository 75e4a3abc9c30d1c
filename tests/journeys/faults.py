"""Each fault that a service is to outlive, made under three running jobs: `make faults`.

An accepted job must succeed, with the bytes of a quiet run, and be there once; what is away costs
no attempt; and the first unit after the fault's end is finished within ten seconds. Settings are
the defaults, but for those in `trials.SETTINGS`. The seed chooses the moments and the files. A
fault that cannot be made here, for want of root or of a package, counts as not passed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.journeys.fault_rows import Row, format_table
from tests.journeys.trials import FAULTS, Bench
from tests.nursery import Nursery


def run_faults(bench: Bench, names: Sequence[str]) -> list[Row]:
    rows = []
    for name in names:
        began = time.monotonic()
        rows.append(_run(bench, name))
        took_s = time.monotonic() - began
        state = "missed" if rows[-1].find_misses() else "passed"
        sys.stderr.write(f"{name}: {state}, after {took_s:.0f} s\n")
    return rows


def _run(bench: Bench, name: str) -> Row:
    try:
        return FAULTS[name](bench, name)
    except pytest.skip.Exception as e:
        return Row(name, not_shown=str(e))
    except Exception as e:
        # One that goes wrong in itself is a row too: the others are to be seen.
        traceback.print_exc()
        reason = str(e).partition("\n")[0]
        return Row(name, not_shown=f"it broke off with {type(e).__name__}: {reason}")


def choose(wanted: Sequence[str]) -> list[str]:
    """The faults whose names have one of the texts in them; all where none is given."""
    return [name for name in FAULTS if not wanted or any(text in name for text in wanted)]


def main() -> int:
    # What is mounted is to be taken away then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=f"of: {'; '.join(FAULTS)}"
    )
    options = parser.parse_args()
    names = choose(options.only)
    if not names:
        parser.error(f"no fault is called {options.only}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, Nursery.running() as nursery:
        rows = run_faults(Bench(nursery, Path(folder), options.seed), names)
    passed = sum(not row.find_misses() for row in rows)
    sys.stdout.write(format_table(rows))
    sys.stdout.write(
        f"\n{passed} of {len(rows)} passed, in {time.monotonic() - began:.0f} s, "
        f"--seed {options.seed}\n"
    )
    return 0 if passed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
