"""How Lua files become scripts, and the keys that they spell."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from polyseme.contract.board import scripts
from polyseme.contract.board.board import Board
from polyseme.contract.board.keys import Keys
from polyseme.contract.board.scripts import Script, assemble, list_scripts, write_scripts

GREET = """-- Greets.
-- Include: twice
-- KEYS:
--   name  of who is greeted
-- ARGV:
--   times number  how often
--   marks...  what follows
-- Returns: {text, next text, ...}
local texts = {}
for i = 1, times do texts[i] = twice(redis.call('GET', name) .. table.concat(marks)) end
return texts
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts in place of the board's."""
    monkeypatch.setattr(scripts, "_FOLDER", tmp_path)
    monkeypatch.setattr(scripts, "assemble", assemble.__wrapped__)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/join.lua").write_text("local function join(a, b) return a .. b end\n")
    (tmp_path / "shared/twice.lua").write_text(
        "-- Include: join\nlocal function twice(text) return join(text, text) end\n"
    )
    (tmp_path / "greet.lua").write_text(GREET)
    return tmp_path


def test_a_script_is_called_by_names_in_any_order(board: Board, folder: Path) -> None:
    board._redis.set("who", "you")
    greet = Script(board._redis, "greet")

    assert greet(marks=["?", "!"], times=2, name="who") == ["you?!you?!"] * 2
    assert greet(times=1, marks=[], name="who") == ["youyou"]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "who", "times": 1},
        {"name": "who", "times": 1, "mark": ["!"]},
        {"name": "who", "times": 1, "marks": [], "more": 1},
    ],
)
def test_a_wrong_or_missing_name_is_refused(
    board: Board, folder: Path, values: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="a script lacks"):
        Script(board._redis, "greet")(**values)


def test_what_is_included_stands_once_and_before_what_needs_it(folder: Path) -> None:
    (folder / "both.lua").write_text("-- Both.\n-- Include: twice join\nreturn twice(join(1, 2))\n")

    text = scripts.assemble("both").text

    assert text.count("function join") == text.count("function twice") == 1
    assert text.index("function join") < text.index("function twice") < text.index("return twice(")


@pytest.mark.parametrize(
    "header", ["-- KEYS:\n--   a\n-- ARGV:\n--   a\n", "-- ARGV:\n--   a...\n--   b\n"]
)
def test_a_name_that_stands_twice_or_after_a_list_is_refused(folder: Path, header: str) -> None:
    (folder / "wrong.lua").write_text(header)

    with pytest.raises(ValueError, match=r"wrong\.lua"):
        scripts.assemble("wrong")


def test_redis_takes_every_script_of_the_board(board: Board, tmp_path: Path) -> None:
    write_scripts(tmp_path)

    written = {p.relative_to(tmp_path).with_suffix("").as_posix() for p in tmp_path.rglob("*.lua")}
    assert written == set(list_scripts())
    for name in list_scripts():
        board._redis.script_load((tmp_path / f"{name}.lua").read_text())


@pytest.mark.parametrize("name", list_scripts())
def test_every_script_says_what_it_does_and_what_each_name_is(name: str) -> None:
    lines = scripts._header(scripts._read(name))

    assert re.match(r"-- [A-Z].*", lines[0])
    for line in lines:
        if line.startswith("--   "):
            assert re.fullmatch(r"--   \w+(\.\.\.)?( number)?  \S.*", line), line


def test_no_python_calls_redis_in_lua() -> None:
    root = Path(scripts.__file__).parent

    assert [p.name for p in root.rglob("*.py") if "redis.call" in p.read_text()] == []


def test_lua_and_python_spell_keys_alike(board: Board) -> None:
    shared = scripts._read("shared/keys")
    names = re.findall(r"^function keys\.(\w+)", shared, re.MULTILINE)
    keys = Keys("p:")

    assert len(names) > 15
    for name in names:
        spell = getattr(keys, name)
        args = [f"<{i}>" for i in range(len(inspect.signature(spell).parameters))]
        call = f"return keys.{name}(unpack(ARGV))"
        assert board._redis.eval(f"local prefix = 'p:'\n{shared}\n{call}", 0, *args) == spell(*args)
