"""Logs: one line a record, as text or as JSON, with the ids of what the code was busy with when it
logged.

The ids ride in a context variable, so a function logs a sentence and need not know whose request it
serves. They are ids and counts only: what a client sent as text or as a key never goes into a
record.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from polyseme.contract.paths import hide_paths

FORMATS = ("text", "json")
_OF_REQUESTS = ("polyseme.service", "polyseme.access")

_NOTHING: Mapping[str, str] = {}
_ids: ContextVar[Mapping[str, str]] = ContextVar("polyseme_log_ids", default=_NOTHING)


@contextmanager
def log_ids(**ids: str | None) -> Iterator[None]:
    """Adds ids to every record of the block, in this thread. None is no id."""
    token = _ids.set({**_ids.get(), **_known(ids)})
    try:
        yield
    finally:
        _ids.reset(token)


def add_log_ids(**ids: str | None) -> None:
    """The same until `clear_log_ids`, for a server that has no block around a request."""
    _ids.set({**_ids.get(), **_known(ids)})


def clear_log_ids() -> None:
    _ids.set(_NOTHING)


def current_log_ids() -> Mapping[str, str]:
    return _ids.get()


def logging_config(log_format: str, folders: Mapping[str, str] = _NOTHING) -> dict[str, Any]:
    """For `logging.config.dictConfig` and gunicorn's `logconfig_dict`: everything from INFO on, to
    standard error. folders: paths, and what is written instead of each.
    """
    if log_format not in FORMATS:
        raise ValueError(f"log_format {log_format!r}: use one of {', '.join(FORMATS)}")
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    propagate = {"level": "INFO", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter, "folders": dict(folders)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": propagate,
            "httpx": {"level": "WARNING"},  # it logs whole addresses
            # It says where Redis' socket lies.
            "celery.worker.consumer.connection": {"level": "WARNING"},
            # They say of every ticket what the workers say of its unit, with ids.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }


class Folders:
    """Lines of a log without where files lie on this machine."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """names: what is written for each folder or file that is known by its path."""
        self._names = sorted(names.items(), key=lambda pair: -len(pair[0]))

    def hide_in(self, text: str, *, is_of_request: bool = False) -> str:
        """is_of_request: other paths in it are addresses of this service's."""
        for path, name in self._names:
            text = text.replace(path, name)
        return text if is_of_request else hide_paths(text)

    def hide_in_trace(self, text: str) -> str:
        """Where the code lies is told."""
        lines = text.split("\n")
        return "\n".join(
            line if line.startswith('  File "') else self.hide_in(line) for line in lines
        )


class _PathlessFormatter(logging.Formatter):
    def __init__(self, text: str | None = None, folders: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(text)
        self._folders = Folders(folders)

    def hide_in_message(self, record: logging.LogRecord) -> str:
        is_of_request = record.name.startswith(_OF_REQUESTS)
        return self._folders.hide_in(record.getMessage(), is_of_request=is_of_request)

    def formatException(self, ei: Any) -> str:
        return self._folders.hide_in_trace(super().formatException(ei))


class JsonFormatter(_PathlessFormatter):
    """time, level, logger, message, the ids, what the call gave as `extra={"fields": {…}}`, and any
    exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.hide_in_message(record),
            **_ids.get(),
            **getattr(record, "fields", _NOTHING),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(_PathlessFormatter):
    """The same in a line for people; ids and fields stand at its end as name=value."""

    def __init__(self, folders: Mapping[str, str] = _NOTHING) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", folders)

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = {**_ids.get(), **getattr(record, "fields", _NOTHING)}
        record.message = self.hide_in_message(record)
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())]
        )


def _known(ids: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in ids.items() if value is not None}
