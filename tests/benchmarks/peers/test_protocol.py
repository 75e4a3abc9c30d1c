"""Contenders as processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.protocol import Contender, Task, running

MIB = 2**20


def make_task(folder: Path, tokens: int = 64) -> Task:
    return Task(
        model=str(folder / "model"),
        texts=str(folder / "texts.jsonl"),
        ids=str(folder / "ids.npy"),
        folder=str(folder / "round"),
        tokens=tokens,
        window=16,
        batch=2,
        top_k=4,
        layers=(0, 1),
        neurons=12,
    )


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Contender]:
    with running(
        Path(sys.executable), "tests.benchmarks.peers.echo", make_task(tmp_path), 1
    ) as contender:
        yield contender


def test_a_contender_names_its_ways(echo: Contender) -> None:
    assert echo.ways == ["write", "fail"]


def test_a_round_has_its_memory_and_its_files(echo: Contender) -> None:
    first, second = echo.run("write"), echo.run("write")

    assert first.written == second.written == 1000
    assert second.seconds > 0
    assert 64 * MIB <= second.added < 80 * MIB
    assert second.peak > second.added


def test_what_a_round_wrote_is_gone_after_it(echo: Contender, tmp_path: Path) -> None:
    echo.run("write")

    assert not (tmp_path / "round").exists()


def test_maxima_come_when_asked_for(echo: Contender, tmp_path: Path) -> None:
    echo.run("write", tmp_path / "maxima.npy")

    assert np.load(tmp_path / "maxima.npy").tolist() == [[1]]


def test_a_contender_that_fails_is_an_error_with_its_last_words(echo: Contender) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1:.*no such neuron"):
        echo.run("fail")
