"""Keys, tenants and what they use, on a real server."""

from __future__ import annotations

import re
import time

import pytest
import redis

from polyseme.contract.board.accounts import Accounts
from polyseme.contract.board.board import Board
from polyseme.contract.records.tenants import Quotas, Tenant, allowed_by
from polyseme.contract.settings import Settings


@pytest.fixture
def accounts(board: Board) -> Accounts:
    return board.accounts


def tenant_of(accounts: Accounts, secret: str | None) -> str | None:
    """Whose a secret is; "refused", or None while nobody needs one."""
    try:
        found = accounts.identify(secret)
    except PermissionError:
        return "refused"
    return found.tenant if found else None


def test_without_keys_nobody_needs_one(accounts: Accounts) -> None:
    assert not accounts.has_keys()
    assert tenant_of(accounts, None) is None
    assert tenant_of(accounts, "psk_" + "a" * 43) is None


def test_a_key_is_its_tenants_and_says_what_it_may(accounts: Accounts) -> None:
    key, secret = accounts.create_key("acme", ("read", "submit"), "laptop")

    found = accounts.identify(secret)

    assert found is not None
    assert (found.key, found.tenant, found.scopes, found.requests_per_minute) == (
        key.id,
        "acme",
        key.scopes,
        None,
    )
    assert re.fullmatch(r"psk_[A-Za-z0-9]{43}", secret)
    assert key.created_at == pytest.approx(time.time(), abs=30)
    assert [k.id for k in accounts.list_keys()] == [key.id]


@pytest.mark.parametrize(
    "wrong", [None, "", "psk_", "psk_" + "a" * 43, "a" * 47, "psk_" + "é" * 43, "*", "psk_*"]
)
def test_what_is_no_secret_is_refused(accounts: Accounts, wrong: str | None) -> None:
    accounts.create_key("acme", ("read",))

    assert tenant_of(accounts, wrong) == "refused"


def test_the_secret_is_nowhere_in_redis(accounts: Accounts, redis_url: str) -> None:
    _, secret = accounts.create_key("acme", ("admin",))
    client = redis.Redis.from_url(redis_url, decode_responses=True)

    kept = " ".join(f"{key} {client.dump(key)!r}" for key in client.scan_iter())

    assert secret not in kept
    assert secret.removeprefix("psk_") not in kept


def test_a_revoked_key_is_refused_and_the_service_stays_closed(accounts: Accounts) -> None:
    key, secret = accounts.create_key("acme", ("read",))

    assert accounts.revoke_key(key.id)
    assert not accounts.revoke_key(key.id)

    assert tenant_of(accounts, secret) == "refused"
    assert tenant_of(accounts, None) == "refused"
    assert accounts.has_keys()
    assert accounts.list_keys()[0].revoked_at is not None


def test_a_rotated_key_has_a_new_secret_and_the_old_one_ends(accounts: Accounts) -> None:
    key, old = accounts.create_key("acme", ("read",))

    new = accounts.rotate_key(key.id)

    assert (tenant_of(accounts, old), tenant_of(accounts, new)) == ("refused", "acme")
    assert accounts.rotate_key("key_none") is None


def test_an_old_secret_may_hold_for_a_while_but_not_beyond_the_keys_end(accounts: Accounts) -> None:
    key, old = accounts.create_key("acme", ("read",))
    accounts.rotate_key(key.id, keep_s=60)
    kept = tenant_of(accounts, old)

    accounts.revoke_key(key.id)

    assert (kept, tenant_of(accounts, old)) == ("acme", "refused")
    assert accounts.rotate_key(key.id) is None


def test_admin_has_the_other_scopes_in_it() -> None:
    assert allowed_by(("admin",)) == {"read", "submit", "admin"}
    assert allowed_by(("submit",)) == {"submit"}


def test_a_tenants_own_quotas_go_before_the_services(accounts: Accounts) -> None:
    accounts.put_tenant(Tenant("acme", weight=2.5, active_jobs=3, stored_bytes=0))
    accounts.create_key("beta", ("read",))

    found = accounts.get_tenant("acme").quotas(
        Settings(tenant_queued_tokens=9, tenant_requests_per_minute=8)
    )

    assert found == Quotas(active_jobs=3, queued_tokens=9, stored_bytes=0, requests_per_minute=8)
    assert [t.id for t in accounts.list_tenants()] == ["acme", "beta"]
    assert accounts.weights() == {"acme": 2.5}


def test_no_more_requests_are_granted_than_a_minute_has(accounts: Accounts) -> None:
    grants = [accounts.grant_requests("acme", 4, 10) for _ in range(4)]
    other = accounts.grant_requests("beta", 4, 10)

    assert sum(g.granted for g in grants) in (10, 16)  # 16: a minute began meanwhile
    assert all(1 <= g.seconds <= 60 for g in grants)
    assert (other.granted, other.left) == (4, 6)


def test_stored_bytes_are_counted_once_an_item(accounts: Accounts) -> None:
    assert accounts.note_stored("acme", "job:1", 60)
    assert accounts.note_stored("acme", "job:1", 50)
    assert accounts.note_stored("acme", "corpus:a", 50, limit=100)
    assert not accounts.note_stored("acme", "corpus:b", 1, limit=100)
    assert accounts.stored_bytes("acme") == 100

    accounts.note_stored("acme", "job:1", 0)
    accounts.note_stored("acme", "job:1", 0)

    assert accounts.stored_bytes("acme") == 50
