"""The changes that CONTRIBUTING.md shows apply to a copy of the sources, and work there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# A heading, its diff, and the program that shows that the change works.
CHANGE = re.compile(r"### ([^\n]+)\n.*?```diff\n(.*?)```.*?```python\n(.*?)```", re.DOTALL)
CHANGES = {
    m[1]: (m[2], m[3])
    for part in TEXT.split("\n### ")[1:]
    for m in [CHANGE.search("### " + part)]
    if m
}
MOST_FILES = {"Add a site": 2, "Add a stage": 2, "Add a column": 3}


def copy_sources(target: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def test_there_is_a_change_of_each_kind() -> None:
    kinds = ["Add a site", "Add a stage", "Add a column", "Add a route", "Add a setting"]

    assert list(CHANGES) == kinds


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_applies_and_works(name: str, tmp_path: Path) -> None:
    diff, program = CHANGES[name]
    copy_sources(tmp_path)
    # Not compiled: each copy would take its minute for that.
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}

    applied = subprocess.run(
        ["git", "apply", "-"], cwd=tmp_path, input=diff, capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stderr
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    touched = {line[6:] for line in diff.splitlines() if line.startswith("+++ b/")}
    assert len([f for f in touched if not f.startswith("tests/")]) <= MOST_FILES.get(name, 9)
