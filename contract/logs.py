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

FORMATS = ("text", "json")

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


def logging_config(log_format: str) -> dict[str, Any]:
    """For `logging.config.dictConfig` and gunicorn's `logconfig_dict`: everything from INFO on, to
    standard error.
    """
    if log_format not in FORMATS:
        raise ValueError(f"log_format {log_format!r}: use one of {', '.join(FORMATS)}")
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    propagate = {"level": "INFO", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": propagate,
            "httpx": {"level": "WARNING"},  # it logs whole addresses
            # They say of every ticket what the workers say of its unit, with ids.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the ids, what the call gave as `extra={"fields": {…}}`, and any
    exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ids.get(),
            **getattr(record, "fields", _NOTHING),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same in a line for people; ids and fields stand at its end as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = {**_ids.get(), **getattr(record, "fields", _NOTHING)}
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())]
        )


def _known(ids: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in ids.items() if value is not None}
