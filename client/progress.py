"""A job's progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from client.api import JobState

_STEP = 0.1  # of the whole, between plain lines


@contextmanager
def job_progress(console: Console) -> Iterator[Callable[[JobState], None]]:
    """Gives a function that takes each state of the job."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=1.0, note="")

        def show(state: JobState) -> None:
            bar.update(task, description=state["phase"], completed=_fraction(state), note=describe(state))

        yield show


def _plain_lines(console: Console) -> Callable[[JobState], None]:
    last: tuple[str, int] | None = None

    def show(state: JobState) -> None:
        nonlocal last
        step = (state["phase"], int(_fraction(state) / _STEP))
        if step != last:
            console.print(f"{state['phase']:<9} {_fraction(state):4.0%}  {describe(state)}", highlight=False)
            last = step

    return show


def describe(state: JobState) -> str:
    """Tokens done, speed, and time or layers left, as far as they are known."""
    progress = state["progress"]
    parts = []
    if progress["tokens_total"]:
        parts.append(f"{progress['tokens_done']:,} of {progress['tokens_total']:,} tokens")
    if speed := progress["tokens_per_second"]:
        parts.append(f"{speed:,.0f} tokens/s")
    if state["phase"] == "merging" and progress["layers"]["total"]:
        parts.append(f"{progress['layers']['done']} of {progress['layers']['total']} layers")
    elif (left := progress["eta_seconds"]) is not None:
        parts.append(f"{left:.0f} s left")
    return ", ".join(parts)


def _fraction(state: JobState) -> float:
    return 1.0 if state["status"] == "succeeded" else state["progress"]["fraction"] or 0.0
