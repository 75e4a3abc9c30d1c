"""Tenants, what each may use, and the API keys that speak for them.

Records alone: `polyseme.contract.board.accounts` keeps them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal

from polyseme.contract.settings import Settings

Scope = Literal["read", "submit", "admin"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "admin")
IMPLIED: Final[dict[Scope, frozenset[Scope]]] = {
    "read": frozenset({"read"}),
    "submit": frozenset({"submit"}),
    "admin": frozenset(SCOPES),
}

_SECRET: Final = re.compile(r"psk_[A-Za-z0-9]{43}")
_LETTERS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Quotas:
    """The most that a tenant may use; 0 is no limit."""

    active_jobs: int  # that have not ended, live checks included
    queued_tokens: int  # of those jobs, estimated when they were submitted, less what was run
    stored_bytes: int  # of its corpora and results
    requests_per_minute: int


UNLIMITED: Final = Quotas(0, 0, 0, 0)


@dataclass(frozen=True)
class Tenant:
    """What is set for one tenant; None leaves the service's default."""

    id: str
    weight: float = 1.0  # > 0, its share of the workers beside others' that wait too
    active_jobs: int | None = None
    queued_tokens: int | None = None
    stored_bytes: int | None = None
    requests_per_minute: int | None = None

    def quotas(self, settings: Settings) -> Quotas:
        chosen = {f.name: getattr(self, f.name) for f in fields(Quotas)}
        return Quotas(
            **{
                name: getattr(settings, f"tenant_{name}") if v is None else v
                for name, v in chosen.items()
            }
        )

    def to_fields(self) -> dict[str, str]:
        """Without the id and what is None: a Redis hash."""
        return {
            name: str(value)
            for name, value in asdict(self).items()
            if name != "id" and value is not None
        }

    @classmethod
    def from_fields(cls, tenant: str, stored: dict[str, str]) -> Tenant:
        numbers = {f.name: int(stored[f.name]) for f in fields(Quotas) if f.name in stored}
        return cls(tenant, float(stored.get("weight", 1)), **numbers)


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret, of which nothing but a hash is kept."""

    id: str  # names it to people, in lists and logs
    tenant: str
    scopes: tuple[Scope, ...]
    name: str  # whatever its maker called it
    created_at: float  # seconds since the epoch, from Redis' clock; so are the others
    rotated_at: float | None
    revoked_at: float | None


def allowed_by(scopes: tuple[Scope, ...]) -> frozenset[Scope]:
    """What a key with these scopes may do: `admin` has the others in it."""
    return frozenset().union(*(IMPLIED[s] for s in scopes))


def new_key_id() -> str:
    return f"key_{secrets.token_hex(6)}"


def new_secret() -> str:
    """256 random bits in letters and digits."""
    return "psk_" + "".join(secrets.choice(_LETTERS) for _ in range(43))


def is_secret(text: str) -> bool:
    """Whether a text has a secret's form."""
    return _SECRET.fullmatch(text) is not None


def hash_secret(secret: str) -> str:
    """The secret is random and long, so a plain hash is enough; it is looked up, never compared
    letter by letter.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
