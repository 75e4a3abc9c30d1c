"""The pins of the tools' environments, and when one is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.environments import PACKAGES, REQUIREMENTS, prepare_environment, versions


@pytest.mark.parametrize("peer", PACKAGES)
def test_every_package_is_pinned(peer: str) -> None:
    lines = (REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8").splitlines()

    assert all(len(line.split("==")) == 2 for line in lines)
    assert versions(peer).startswith(f"{PACKAGES[peer]} ")


def test_an_environment_with_the_same_pins_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "delphi").mkdir()
    (tmp_path / "delphi/requirements.txt").write_bytes((REQUIREMENTS / "delphi.txt").read_bytes())

    assert prepare_environment("delphi", tmp_path) == tmp_path / "delphi/bin/python"
