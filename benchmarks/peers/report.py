"""The tables: what each way took in each round, and how it compares with others in the same
round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.markdown import quantile, quartiles, table
from benchmarks.peers.protocol import Round

_MIB = 2**20


@dataclass(frozen=True)
class Result:
    """The rounds of one way, in their order."""

    name: str
    neurons: int
    rounds: Sequence[Round]


def costs(results: Mapping[str, Result], tokens: int) -> str:
    """A row a way. The ratios are those to the way "body"."""
    header = ["", "neurons", "seconds", "tokens/s", "times the body", "quartiles"]
    return table(
        [*header, "peak RSS, MiB", "added, MiB", "files, MiB"], _cost_rows(results, tokens)
    )


def _cost_rows(results: Mapping[str, Result], tokens: int) -> Iterator[list[str]]:
    for result in results.values():
        seconds = quantile((r.seconds for r in result.rounds), 0.5)
        yield [
            result.name,
            f"{result.neurons:,}" if result.neurons else "",
            f"{seconds:.2f}",
            f"{tokens / seconds:,.0f}",
            *_spread(result, results["body"]),
            *(
                _mebibytes(max(getattr(r, name) for r in result.rounds))
                for name in ("peak", "added", "written")
            ),
        ]


def comparisons(results: Mapping[str, Result], pairs: Sequence[tuple[str, str]]) -> str:
    """A row for each pair (one, other) of ways: how many times what the other takes the one
    takes.
    """
    header = [
        "",
        "beside",
        "times its seconds",
        "quartiles",
        "times its added memory",
        "times its files",
    ]
    return table(header, (_compare(results[one], results[other]) for one, other in pairs))


def _compare(one: Result, other: Result) -> list[str]:
    sizes = [
        [max(getattr(r, name) for r in result.rounds) for result in (one, other)]
        for name in ("added", "written")
    ]
    return [
        one.name,
        other.name,
        *_spread(one, other),
        *(f"{a / b:.1f}" if a and b else "" for a, b in sizes),
    ]


def _spread(one: Result, other: Result) -> tuple[str, str]:
    """The median of the ratios of seconds round by round, and their quartiles."""
    ratios = [a.seconds / b.seconds for a, b in zip(one.rounds, other.rounds, strict=True)]
    low, middle, high = quartiles(ratios)
    return f"{middle:.3f}", f"{low:.3f} to {high:.3f}"


def _mebibytes(size: int) -> str:
    return f"{size / _MIB:,.0f}" if size else ""
