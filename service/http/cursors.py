"""Cursors: where a list goes on, signed, bound to what was asked, and good for a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from polyseme.contract.errors import BadCursor, ExpiredCursor
from polyseme.contract.names import DEFAULT_TENANT

T = TypeVar("T")

LIFETIME_S = 24 * 3600
_LONGEST = 1024


class Cursors:
    def __init__(self, secret: str, lifetime_s: int = LIFETIME_S) -> None:
        self._serializer = URLSafeTimedSerializer(secret)
        self._lifetime_s = lifetime_s

    def seal(
        self, subject: str, query: Mapping[str, Any], position: Any, tenant: str = DEFAULT_TENANT
    ) -> str:
        """A cursor for `position` (JSON) in a tenant's list of `subject` (a job's id, or "jobs")
        under `query`.
        """
        text = self._serializer.dumps([subject, _digest(query), position], salt=_salt(tenant))
        return text if isinstance(text, str) else text.decode()

    def open(
        self, cursor: str, subject: str, query: Mapping[str, Any], tenant: str = DEFAULT_TENANT
    ) -> Any:
        """The position.

        Raises ExpiredCursor after a day, BadCursor for any other that `seal` did not give for this.
        """
        try:
            if len(cursor) > _LONGEST:
                raise BadData("too long")
            sealed_for, digest, position = self._serializer.loads(
                cursor, max_age=self._lifetime_s, salt=_salt(tenant)
            )
        except SignatureExpired as e:
            raise ExpiredCursor(
                "the cursor is older than a day: start the list again", pointer="/cursor"
            ) from e
        except (BadData, ValueError, TypeError) as e:
            raise BadCursor("the cursor is none that this service gave", pointer="/cursor") from e
        if sealed_for != subject:
            raise BadCursor(
                f"the cursor belongs to {sealed_for}, not to {subject}", pointer="/cursor"
            )
        if digest != _digest(query):
            raise BadCursor(
                "the cursor belongs to other filters or another order: keep them as they were",
                pointer="/cursor",
            )
        return position

    def cut(
        self, subject: str, found: Sequence[T], query: Mapping[str, Any], tenant: str
    ) -> tuple[Sequence[T], str | None]:
        """The part of a whole list that `query` asks for with its `limit` and `cursor`, and the
        cursor of what comes behind.
        """
        given = query.get("cursor")
        offset = 0 if given is None else self.open(given, subject, {}, tenant)
        end = offset + query["limit"]
        cursor = self.seal(subject, {}, end, tenant) if end < len(found) else None
        return found[offset:end], cursor


def _salt(tenant: str) -> str:
    """Another tenant's cursor looks like a forged one."""
    return "polyseme-cursor" if tenant == DEFAULT_TENANT else f"polyseme-cursor {tenant}"


def _digest(query: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:16]
