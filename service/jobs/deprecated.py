"""What an answer says of a request's options that are taken for a while yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_ALPHA_SINCE: Final = 1796083200  # 1 December 2026, in UTC

Senses = Mapping[str, Any]  # as sent


def deprecation_headers(*sent: Senses) -> dict[str, str]:
    """Those of RFC 9745, when one of the requests has such an option."""
    is_used = any("alpha" in senses for senses in sent)
    return {"Deprecation": f"@{_ALPHA_SINCE}"} if is_used else {}
