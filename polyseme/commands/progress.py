"""A job's progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from polyseme.contract.plurals import counted
from polyseme.records import Job

_STEP = 0.1  # of a phase, between plain lines
_SILENCE_S = 10.0  # the longest between plain lines
_MINUTES_S = 120.0  # from which on minutes are counted


@contextmanager
def job_progress(
    console: Console, silence_s: float = _SILENCE_S
) -> Iterator[Callable[[Job], None]]:
    """Gives a function that takes each state of the job. silence_s: where there is no terminal, a
    line comes at least so often, also when no state does.
    """
    if not console.is_terminal:
        with _plain_lines(console, silence_s) as show:
            yield show
        return
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=1.0, note="")

        def show_bar(state: Job) -> None:
            bar.update(
                task, description=state.phase, completed=_fraction(state), note=describe(state)
            )

        yield show_bar


@contextmanager
def _plain_lines(console: Console, silence_s: float) -> Iterator[Callable[[Job], None]]:
    began = time.monotonic()
    latest: Job | None = None
    step: tuple[str, int] | None = None
    news, has_ended = threading.Event(), threading.Event()

    def write(state: Job) -> None:
        note = ", ".join(filter(None, (describe(state), f"after {time.monotonic() - began:.0f} s")))
        console.print(
            f"{state.phase:<11} {_fraction(state):4.0%}  {note}", highlight=False, soft_wrap=True
        )

    def show(state: Job) -> None:
        nonlocal latest, step
        latest, before = state, step
        step = (state.phase, int(_fraction(state) / _STEP))
        if step != before:
            write(state)
            news.set()

    def break_silence() -> None:
        while not has_ended.is_set():
            if news.wait(silence_s):
                news.clear()
            elif latest is not None:
                write(latest)

    thread = threading.Thread(target=break_silence, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        has_ended.set()
        news.set()
        thread.join()


def describe(state: Job) -> str:
    """Layers merged, or else tokens done and speed, and what is left of the phase, as far as known;
    and what holds it up.
    """
    progress = state.progress
    parts = [state.warning] if state.warning else []
    if state.phase == "merging" and progress.layers.total:
        parts.append(f"{progress.layers.done} of {counted(progress.layers.total, 'layer')}")
    else:
        if progress.tokens_total:
            parts.append(f"{progress.tokens_done:,} of {counted(progress.tokens_total, 'token')}")
        if speed := progress.tokens_per_second:
            parts.append(f"{speed:,.0f} tokens/s")
    if (left := progress.eta_seconds) is not None:
        parts.append(f"{_duration(left)} of {state.phase} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < _MINUTES_S else f"{seconds / 60:.0f} min"


def _fraction(state: Job) -> float:
    """Of the phase: of the layers while they are merged, otherwise of the tokens."""
    layers = state.progress.layers
    if state.succeeded:
        return 1.0
    if state.phase == "merging" and layers.total:
        return layers.done / layers.total
    return state.progress.fraction or 0.0
