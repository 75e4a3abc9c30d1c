from __future__ import annotations

import io
import time
from typing import Any

from rich.console import Console

from polyseme.commands.progress import describe, job_progress
from polyseme.reading import read
from polyseme.records import Job
from tests.client.standins import wait_until
from tests.client.wire import job_state


def job(**changed: Any) -> Job:
    return read(Job, job_state(**changed))


def shown(*states: Job, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
    with job_progress(console) as show:
        for state in states:
            show(state)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_without_a_terminal_a_line_comes_at_each_tenth_and_phase() -> None:
    fractions = (0.20, 0.25, 0.31)
    states = [job(progress={"fraction": f}) for f in fractions] + [
        job(status="succeeded", phase="ended")
    ]
    lines = shown(*states, terminal=False).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["scanning", "20%"],
        ["scanning", "31%"],
        ["ended", "100%"],
    ]


def test_merging_has_its_own_tenths_that_are_of_layers() -> None:
    layers = [{"layers": {"done": done, "total": 30}} for done in (0, 1, 3, 6, 7)]
    lines = shown(*(job(phase="merging", progress=p) for p in layers), terminal=False).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["merging", "0%"],
        ["merging", "10%"],
        ["merging", "20%"],
    ]


def test_silence_is_broken_with_the_state_as_it_was() -> None:
    console = Console(file=io.StringIO(), width=120)
    with job_progress(console, silence_s=0.05) as show:
        show(job(phase="merging", progress={"layers": {"done": 3, "total": 30}}))
        wait_until(lambda: console.file.getvalue().count("3 of 30 layers") >= 3)  # type: ignore[attr-defined]
    written = console.file.getvalue()  # type: ignore[attr-defined]
    time.sleep(0.2)
    assert console.file.getvalue() == written  # type: ignore[attr-defined]


def test_on_a_terminal_there_is_a_bar() -> None:
    output = shown(job(), terminal=True)
    assert "scanning" in output
    assert "25%" in output
    assert "━" in output


def test_the_note_tells_tokens_speed_and_time_left() -> None:
    assert describe(job()) == "250 of 1,000 tokens, 500 tokens/s, 2 s of scanning left"


def test_what_holds_a_job_up_is_told() -> None:
    state = job(phase="queued", warning="no live worker serves the queue default")
    assert "no live worker serves the queue default" in shown(state, terminal=False)


def test_what_is_not_known_is_left_out() -> None:
    unknown = {
        "tokens_total": None,
        "tokens_per_second": None,
        "eta_seconds": None,
        "fraction": None,
    }
    assert describe(job(progress=unknown)) == ""
    assert "queued        0%" in shown(job(phase="queued", progress=unknown), terminal=False)


def test_merging_counts_layers() -> None:
    state = job(phase="merging", progress={"layers": {"done": 3, "total": 30}})
    assert describe(state) == "3 of 30 layers, 2 s of merging left"


def test_no_time_left_is_never_told() -> None:
    state = job(progress={"eta_seconds": 0.1})
    assert describe(state).endswith(", 1 s of scanning left")


def test_much_time_left_is_told_in_minutes() -> None:
    state = job(progress={"eta_seconds": 822.0})
    assert describe(state).endswith(", 14 min of scanning left")
