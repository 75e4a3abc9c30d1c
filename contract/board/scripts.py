"""Lua scripts in files, called with their keys and arguments by name.

A file in scripts/ opens with a comment:

    -- What it does.
    -- Include: now keys
    -- KEYS:
    --   record    what lies there
    -- ARGV:
    --   lease_s number  what it is
    --   units...  as many as there are
    -- Returns: what it returns

`Include` names files in scripts/shared, which go before the script, each once. The names become
locals (`local record = KEYS[1]`), so their order stands in that comment alone. An argument is text,
unless the word `number` follows its name; the last may be a list.

`python -m polyseme.contract.board.scripts FOLDER` writes the scripts as Redis gets them, for
luacheck. Knows nothing of what the scripts do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import redis

_FOLDER = Path(__file__).parent / "scripts"
_SHARED = "shared"

_NAME = re.compile(r"--   (?P<name>\w+)(?P<rest>\.\.\.)?(?P<number> number\b)?")


@dataclass(frozen=True)
class _Parameter:
    name: str
    is_list: bool = False
    is_number: bool = False


@dataclass(frozen=True)
class Source:
    """A script as Redis gets it, and the names of what it takes, in their order."""

    text: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    list_arg: str | None  # the last of `args`, when it is a list

    def arrange(self, values: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """The values of KEYS and of ARGV. Raises TypeError unless each name has one."""
        wanted = {*self.keys, *self.args}
        if wanted != values.keys():
            missing, unknown = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
            raise TypeError(f"a script lacks {missing} and knows no {unknown}")
        args = [values[name] for name in self.args if name != self.list_arg]
        listed = values[self.list_arg] if self.list_arg else ()
        return [values[name] for name in self.keys], [*args, *listed]


class Script:
    """One script on one Redis."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        """name: of the file, under scripts/ and without its ending."""
        self._source = assemble(name)
        self._script = client.register_script(self._source.text)

    def __call__(self, **values: Any) -> Any:
        """Runs it in one round trip. values: KEYS and ARGV by name."""
        keys, args = self._source.arrange(values)
        return self._script(keys=keys, args=args)


def list_scripts() -> list[str]:
    """The names of all scripts; what they include is none."""
    names = (path.relative_to(_FOLDER).with_suffix("") for path in _FOLDER.glob("*/*.lua"))
    return sorted(name.as_posix() for name in names if name.parts[0] != _SHARED)


@cache
def assemble(name: str) -> Source:
    """Raises ValueError for a header that cannot be meant."""
    text = _read(name)
    keys, args = _read_parameters(text, "KEYS"), _read_parameters(text, "ARGV")
    names = [p.name for p in (*keys, *args)]
    if len(set(names)) < len(names) or any(p.is_list for p in (*keys, *args[:-1])):
        raise ValueError(f"{name}.lua: a name stands twice, or a list is not the last argument")
    return Source(
        text="\n".join([*_declare(keys, args), *_included(text, set()), f"-- {name}.lua", text]),
        keys=tuple(p.name for p in keys),
        args=tuple(p.name for p in args),
        list_arg=args[-1].name if args and args[-1].is_list else None,
    )


def write_scripts(folder: Path) -> None:
    """Writes every script with what it includes and the locals from its header."""
    for name in list_scripts():
        path = folder / f"{name}.lua"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(assemble(name).text, encoding="utf-8")


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def _header(text: str) -> list[str]:
    """The lines of the comment that a file opens with."""
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return lines[:end]


def _included(text: str, known: set[str]) -> Iterator[str]:
    """The texts of what a file includes, and before each what that includes."""
    lines = [line for line in _header(text) if line.startswith("-- Include: ")]
    for name in " ".join(lines).replace("-- Include: ", "").split():
        if name not in known:
            known.add(name)
            shared = _read(f"{_SHARED}/{name}")
            yield from _included(shared, known)
            yield f"-- {_SHARED}/{name}.lua"
            yield shared


def _read_parameters(text: str, section: str) -> list[_Parameter]:
    lines = iter(_header(text))
    if f"-- {section}:" not in lines:  # goes on to the line after it
        return []
    found = []
    for line in lines:
        if not line.startswith("--  "):
            break
        if match := _NAME.match(line):
            found.append(_Parameter(match["name"], bool(match["rest"]), bool(match["number"])))
    return found


def _declare(keys: list[_Parameter], args: list[_Parameter]) -> Iterator[str]:
    for i, key in enumerate(keys, 1):
        yield f"local {key.name} = KEYS[{i}]"
    for i, arg in enumerate(args, 1):
        if arg.is_list:
            yield f"local {arg.name} = {{}}"
            yield f"for i = {i}, #ARGV do {arg.name}[#{arg.name} + 1] = ARGV[i] end"
        else:
            yield f"local {arg.name} = " + (
                f"tonumber(ARGV[{i}])" if arg.is_number else f"ARGV[{i}]"
            )


if __name__ == "__main__":
    write_scripts(Path(sys.argv[1]))
