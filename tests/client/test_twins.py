"""The blocking client and the one for asyncio do not drift apart, and both explain themselves."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from polyseme import AsyncPolyseme, Polyseme

TWINS = {"Rows": "AsyncRows", "Iterator": "AsyncIterator"}


def public(kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def methods() -> list[str]:
    return [name for name, value in public(Polyseme).items() if inspect.isfunction(value)]


def is_awaited(method: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(method)


def test_both_have_the_same_names_in_the_same_order() -> None:
    assert list(public(Polyseme)) == list(public(AsyncPolyseme))
    assert len(methods()) > 30
    assert (Polyseme.url.__doc__, Polyseme.__init__.__doc__) == (
        AsyncPolyseme.url.__doc__,
        AsyncPolyseme.__init__.__doc__,
    )


@pytest.mark.parametrize("name", ["__init__", *methods()])
def test_a_method_takes_the_same_and_says_the_same(name: str) -> None:
    blocking, awaited = getattr(Polyseme, name), getattr(AsyncPolyseme, name)

    given, returned = inspect.signature(blocking).parameters, blocking.__annotations__["return"]
    kind, bracket, inner = returned.partition("[")

    assert blocking.__doc__
    assert awaited.__doc__ == blocking.__doc__
    assert inspect.signature(awaited).parameters == given
    assert awaited.__annotations__["return"] == TWINS.get(kind, kind) + bracket + inner
    assert not is_awaited(blocking)
    assert is_awaited(awaited) == (kind not in TWINS and name != "__init__")


def test_help_shows_a_name_a_signature_and_what_it_does() -> None:
    client = Polyseme("http://127.0.0.1:1")

    text = pydoc.plain(pydoc.render_doc(client.wait))

    assert "wait(job: 'str | Job', on_change: " in text
    assert "Follows a job until it has ended, and tells of each change." in text
    assert all(f" {name}(" in pydoc.plain(pydoc.render_doc(Polyseme)) for name in methods())


def test_the_package_lists_the_client_and_loads_it_when_it_is_asked_for() -> None:
    code = """
import sys
import polyseme.contract.settings
assert "Polyseme" in dir(polyseme)
print("httpx" in sys.modules, polyseme.Polyseme.__name__, "httpx" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "False Polyseme True\n", done.stderr


def test_type_checkers_see_the_methods(tmp_path: Any) -> None:
    (tmp_path / "script.py").write_text(
        """from polyseme import AsyncPolyseme, Polyseme

reveal_type(Polyseme().wait("job_1"))
reveal_type([row.layer for row in Polyseme().neurons("job_1")])


async def main() -> None:
    reveal_type(await AsyncPolyseme().neuron("job_1", 1, 2))
    Polyseme().wait()
"""
    )
    api = pytest.importorskip("mypy.api")

    output, _, _ = api.run(["--follow-imports=silent", str(tmp_path / "script.py")])

    revealed = [line.rpartition("Revealed type is ")[2] for line in output.splitlines()[:3]]
    assert revealed == [
        '"polyseme.records.Job"',
        '"list[int | None]"',
        '"polyseme.reports.Report"',
    ], output
    assert 'Missing positional argument "job"' in output
