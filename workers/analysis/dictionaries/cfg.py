"""Settings of a dictionary, taken one by one: what is left over at the end is not known here, and
may change numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polyseme.contract.errors import DictionaryLoadError

_NEEDED: Any = object()


class Cfg:
    """The values of one settings file. Whatever is wrong raises DictionaryLoadError with the file,
    the name, the value and what is allowed.
    """

    def __init__(self, file: str, values: Mapping[str, Any]) -> None:
        self._file, self._left = file, dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, default: Any = _NEEDED) -> Any:
        if name not in self._left and default is _NEEDED:
            raise DictionaryLoadError(f"{self._file}: it has no {name!r}")
        return self._left.pop(name, default)

    def whole(self, name: str, default: Any = _NEEDED, *, least: int = 1) -> Any:
        """A whole number, or the default where it is missing or null and there is one."""
        value = self.take(name, default)
        if value is None and default is None:
            return None
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or value < least:
            raise self.wrong(name, value, f"a whole number from {least}")
        return value

    def flag(self, name: str, default: Any = _NEEDED) -> Any:
        value = self.take(name, default)
        if value is default or isinstance(value, bool):
            return value
        raise self.wrong(name, value, "true or false")

    def text(self, name: str, default: Any = _NEEDED) -> Any:
        value = self.take(name, default)
        if value is None and default is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(name, value, "a text")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """Of names and values; empty where it is missing or null."""
        value = self.take(name, None)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, value, "an object")
        return dict(value or {})

    def expect(self, name: str, allowed: Iterable[Any], why: str) -> Any:
        """One of the allowed values, which stand for the missing one too: the first."""
        allowed = tuple(allowed)
        value = self.take(name, allowed[0])
        if not any(value is a or (type(value) is type(a) and value == a) for a in allowed):
            said = ", ".join(map(repr, allowed))
            raise DictionaryLoadError(
                f"{self._file}: {name} is {_shown(value)}: {why}; read is {said}"
            )
        return value

    def ignore(self, names: Iterable[str]) -> None:
        """Known to change no number."""
        for name in names:
            self._left.pop(name, None)

    def refuse_rest(self) -> None:
        if self._left:
            raise DictionaryLoadError(
                f"{self._file}: {', '.join(sorted(self._left))} not known here; what changes no "
                f"number may be taken out of the file"
            )

    def wrong(self, name: str, value: Any, allowed: str) -> DictionaryLoadError:
        return DictionaryLoadError(f"{self._file}: {name} is {_shown(value)}; expected {allowed}")


def _shown(value: Any) -> str:
    return repr(value)[:80]
