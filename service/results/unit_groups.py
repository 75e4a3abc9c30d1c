"""Groups of units, the neurons of a result or its control units: what is in one, and how far two
are apart.

Of the positive tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.files.column import STATUSES
from polyseme.contract.files.results import EVIDENCE_CONTEXTS
from polyseme.service.results.intervals import Difference, compare_medians, compare_shares

BINS: Final = 50  # of equal width, over the scores that there can be: 0 to 1
EDGES: Final = tuple(i / BINS for i in range(BINS + 1))
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_NOT_SCORED: Final = "not_scored"
_POLYSEMANTIC: Final = "polysemantic"


@dataclass(frozen=True)
class Group:
    table: pa.Table  # the units' scalars, at least one row

    @cached_property
    def statuses(self) -> dict[str, int]:
        return {name: _count(pc.equal(self.table["status"], name)) for name in STATUSES}

    @cached_property
    def has_evidence(self) -> pa.ChunkedArray:
        return pc.greater_equal(self.table["distinct_contexts"], EVIDENCE_CONTEXTS)

    @cached_property
    def scores(self) -> pa.Array:
        """Ascending, of those that have one."""
        found = self.table["polysemanticity"].drop_null().combine_chunks()
        return found.take(pc.array_sort_indices(found))

    @property
    def median_score(self) -> float | None:
        middle: float | None = pc.quantile(self.scores)[0].as_py()
        return middle

    def describe(self) -> dict[str, Any]:
        units = len(self.table)
        return {
            "units": units,
            "with_evidence": _count(self.has_evidence),
            "dead": _count(pc.equal(self.table["density"], 0)),
            "statuses": self.statuses,
            "shares": {name: count / units for name, count in self.statuses.items()},
            "score": self._describe_scores(),
        }

    def _describe_scores(self) -> dict[str, Any]:
        found = pc.quantile(self.scores, q=list(QUANTILES)).to_pylist()
        return {
            "units": len(self.scores),
            "quantiles": {str(q): v for q, v in zip(QUANTILES, found, strict=True)},
            "counts": count_bins(self.scores),
        }

    def count_polysemantic(self, *, with_evidence: bool = False) -> tuple[int, int]:
        """How many, and of how many: of all, or of those with enough contexts. Of none where senses
        were not asked for.
        """
        if self.statuses[_NOT_SCORED] == len(self.table):
            return 0, 0
        found = pc.equal(self.table["status"], _POLYSEMANTIC)
        if not with_evidence:
            return _count(found), len(self.table)
        return _count(pc.and_(found, self.has_evidence)), _count(self.has_evidence)


@dataclass(frozen=True)
class Differences:
    """Of two groups, the first less the second; None where it cannot be said."""

    polysemantic: Difference | None  # of the shares of all units
    polysemantic_with_evidence: Difference | None  # of the shares of those with enough contexts
    median_score: Difference | None


def compare_groups(first: Group, second: Group) -> Differences:
    return Differences(
        compare_shares(first.count_polysemantic(), second.count_polysemantic()),
        compare_shares(
            first.count_polysemantic(with_evidence=True),
            second.count_polysemantic(with_evidence=True),
        ),
        compare_medians(first.scores.to_pylist(), second.scores.to_pylist()),
    )


def count_bins(scores: pa.Array) -> list[int]:
    """Of each bin between `EDGES`, its lower edge included; of the last its upper edge too."""
    below = [_count(pc.less(scores, edge)) for edge in EDGES[:-1]]
    ends = [*below[1:], len(scores)]
    return [end - start for start, end in zip(below, ends, strict=True)]


def _count(mask: pa.ChunkedArray | pa.Array) -> int:
    """How many are true; what is null is not."""
    return pc.sum(mask).as_py() or 0
