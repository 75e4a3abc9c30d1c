"""Reading a model's files by libraries: their errors become ours, and they print nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from polyseme.contract.errors import ModelLoadError, PolysemeError
from polyseme.contract.records.catalogue import Entry


@contextmanager
def reading_files(entry: Entry, what: str) -> Iterator[None]:
    """Turns whatever a library raises over a model's files into a ModelLoadError."""
    try:
        yield
    except PolysemeError:
        raise
    # Parsers of files from anywhere raise anything: OSError, KeyError, SafetensorError, ...
    except Exception as e:
        raise ModelLoadError(f"{entry.id}: cannot read its {what}: {first_line(e)}") from e


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def name_some(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its progress bars and load reports: what they say is checked here."""
    verbosity, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
