"""What came of a fault, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.journeys.accepted import Audit

RECOVERY_S = 10.0
_COLUMNS = (
    "fault",
    "jobs",
    "ended as",
    "highest attempt",
    "identical",
    "s to the first progress",
    "lost",
    "doubled",
    "passed",
)


@dataclass(frozen=True)
class Row:
    fault: str
    audit: Audit | None = None
    recovery_s: float | None = (
        None  # from the fault's end to the next finished unit; None: none was
    )
    most_attempts: int = (
        1  # at a unit: 1 where the fault is an outage, whose attempts count nothing
    )
    complaints: tuple[str, ...] = ()  # what else was not as it is to be
    remarks: Mapping[str, object] = field(default_factory=dict)  # figures of the fault itself
    not_shown: str = ""  # why the fault could not be made

    def find_misses(self) -> list[str]:
        """What keeps the fault from being passed."""
        if self.not_shown or self.audit is None:
            return [f"not shown: {self.not_shown}"]
        found = self.audit
        checks = {
            "a job did not succeed": found.statuses != {"succeeded": found.jobs},
            "an attempt was spent": found.highest_attempt > self.most_attempts,
            "no attempt was seen": found.highest_attempt == 0,
            "other bytes": bool(found.changed),
            "tokens or layers are not all counted": bool(found.incomplete),
            "no progress after it": self.recovery_s is None,
            f"more than {RECOVERY_S:g} s": (self.recovery_s or 0) > RECOVERY_S,
            "a job was lost": found.lost > 0,
            "a job was doubled": found.doubled > 0,
        }
        return [name for name, is_so in checks.items() if is_so] + list(self.complaints)

    def cells(self) -> list[str]:
        misses = self.find_misses()
        if self.audit is None:
            return [self.fault, *["-"] * (len(_COLUMNS) - 2), misses[0]]
        found = self.audit
        verdict = "yes" if not misses else f"no: {'; '.join(misses)}"
        remarks = ", ".join(f"{value} {name}" for name, value in self.remarks.items())
        return [
            self.fault + (f" ({remarks})" if remarks else ""),
            str(found.jobs),
            ", ".join(f"{n} {status}" for status, n in sorted(found.statuses.items())),
            str(found.highest_attempt),
            f"{found.jobs - found.lost - len(found.changed)} of {found.jobs}",
            "-" if self.recovery_s is None else f"{self.recovery_s:.1f}",
            str(found.lost),
            str(found.doubled),
            verdict,
        ]


def format_table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
