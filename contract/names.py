"""Names that everybody spells alike: queues, priorities, the tenant of everything while there
are no keys.
"""

from __future__ import annotations

import re
from typing import Final, Literal

DEFAULT_QUEUE = "default"
QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

Priority = Literal["live", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = (
    "live",
    "high",
    "normal",
    "low",
)  # live: checks of a text, while somebody waits

DEFAULT_TENANT: Final = "default"  # whose everything is while there are no keys
TENANT_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def parse_queues(text: str) -> tuple[str, ...]:
    """The queues in "default,big".

    Raises ValueError for a name that is none, and when there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if wrong := [n for n in names if not QUEUE_NAME.fullmatch(n)]:
        raise ValueError(f"queues {text!r}: {wrong[0]!r} must match {QUEUE_NAME.pattern}")
    return names
