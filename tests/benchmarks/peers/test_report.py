"""The tables, of made-up rounds."""

from __future__ import annotations

from benchmarks.peers.protocol import Round
from benchmarks.peers.report import Result, comparisons, costs

MIB = 2**20


def make_rounds(*seconds: float, added: int = 0, written: int = 0) -> list[Round]:
    return [Round(s, 100 * MIB + added, added, written) for s in seconds]


RESULTS = {
    "body": Result("the body", 0, make_rounds(1.0, 2.0, 4.0)),
    "scan": Result("the scan", 2048, make_rounds(1.5, 2.2, 4.0, added=10 * MIB, written=4 * MIB)),
    "peer": Result("a peer", 1024, make_rounds(3.0, 6.6, 20.0, added=50 * MIB, written=8 * MIB)),
}


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_costs_are_set_against_the_body_of_the_same_round() -> None:
    body, scan, peer = rows(costs(RESULTS, tokens=440))

    assert body == ["the body", "", "2.00", "220", "1.000", "1.000 to 1.000", "100", "", ""]
    assert scan == ["the scan", "2,048", "2.20", "200", "1.100", "1.000 to 1.500", "110", "10", "4"]
    assert peer[4:6] == ["3.300", "3.000 to 5.000"]


def test_a_pair_has_times_memory_and_files() -> None:
    (row,) = rows(comparisons(RESULTS, [("peer", "scan")]))

    assert row == ["a peer", "the scan", "3.000", "2.000 to 5.000", "5.0", "2.0"]


def test_what_took_no_memory_or_no_files_has_no_ratio() -> None:
    (row,) = rows(comparisons(RESULTS, [("body", "scan")]))

    assert row[4:] == ["", ""]
