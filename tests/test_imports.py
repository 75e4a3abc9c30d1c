"""Each part runs where the others' libraries are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

_BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
for name in {modules!r}:
    __import__(name)
"""


def import_without(blocked: list[str], modules: list[str]) -> subprocess.CompletedProcess[str]:
    code = _BLOCKED.format(blocked=blocked, modules=modules)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "module",
    [
        "polyseme.contract.board.board",
        "polyseme.contract.tickets",
        "polyseme.commands.main",
        "polyseme.service.app",
    ],
)
def test_the_api_and_the_client_need_no_torch(module: str) -> None:
    found = import_without(["torch", "transformers", "numba"], [module])

    assert found.returncode == 0, found.stderr


def test_the_analysis_needs_no_server() -> None:
    modules = [
        "polyseme.workers.analysis.steps.analysis",
        "polyseme.workers.analysis.run",
        "polyseme.workers.analysis.__main__",
    ]

    found = import_without(["flask", "redis", "celery", "kombu", "marshmallow"], modules)

    assert found.returncode == 0, found.stderr


def test_a_blocked_library_is_really_missing() -> None:
    module = "polyseme.workers.analysis.scan.statistics.top_lists"

    assert "torch" in import_without(["torch"], [module]).stderr
