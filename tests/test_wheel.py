"""What is installed: one package, with all that it needs beside its modules."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def copied_by(dockerfile: str) -> set[str]:
    """What the image is built of."""
    text = (ROOT / "deploy" / dockerfile).read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text.split("\nFROM ")[1])
    return {name for line in lines for name in line.split()}


def build(names: set[str], folder: Path) -> ZipFile:
    """The wheel of a copy, since building leaves files in the sources."""
    sources = folder / "sources"
    sources.mkdir()
    for name in names:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, sources / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    done = subprocess.run([*pip, *options, str(sources)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    return ZipFile(wheel)


API = copied_by("api.Dockerfile")
WORKER = copied_by("worker.Dockerfile")


def test_an_image_is_built_without_the_other_ones_part() -> None:
    assert {"service", "docs"} == API - WORKER
    assert {"workers"} == WORKER - API


@pytest.mark.parametrize(
    ("names", "rooms"),
    [
        (API | WORKER, {"service", "workers"}),
        (API, {"service"}),
        (WORKER, {"workers"}),
    ],
    ids=["all", "api", "worker"],
)
def test_a_wheel_has_one_name_at_the_top_and_every_file(
    tmp_path: Path, names: set[str], rooms: set[str]
) -> None:
    files = {f for f in build(names, tmp_path).namelist() if ".dist-info/" not in f}

    parts = {"contract", *rooms}
    wanted = {
        f"polyseme/{path.relative_to(ROOT / top) if top == 'polyseme' else path.relative_to(ROOT)}"
        for top in ("polyseme", *parts)
        for pattern in ("*.py", "py.typed", "*.lua", "static/*", "templates/*")
        for path in (ROOT / top).rglob(pattern)
        if "__pycache__" not in path.parts and not _is_linked(path)
    }
    if "service" in rooms:
        docs = (p.relative_to(ROOT / "docs") for p in (ROOT / "docs").rglob("*") if p.is_file())
        wanted |= {f"polyseme/service/guide/{path}" for path in docs}
    assert {f.split("/")[0] for f in files} == {"polyseme"}
    assert wanted - files == set()
    assert all(f.endswith(".py") for f in files - wanted), files - wanted
    assert {"contract", "service", "workers"} & {f.split("/")[1] for f in files} == parts


def _is_linked(path: Path) -> bool:
    """Behind a link of `polyseme`, so found under its own folder."""
    return path.is_relative_to(ROOT / "polyseme") and path.relative_to(ROOT / "polyseme").parts[
        0
    ] in ("contract", "service", "workers")
