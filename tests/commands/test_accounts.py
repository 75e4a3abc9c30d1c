from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from polyseme.commands.accounts import check_scopes, check_tenant, read_quota
from polyseme.contract.board.board import Board
from polyseme.contract.records.tenants import Tenant
from polyseme.errors import CommandError
from tests.client.standins import (
    free_port,
    read_until,
    run_polyseme,
    running_polyseme,
    write_standins,
)
from tests.client.wire import Answer, Wire


def run(tmp_path: Path, redis_url: str, *arguments: str) -> str:
    done = run_polyseme([*arguments, "--redis-url", redis_url], tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_key_is_made_shown_once_listed_rotated_and_revoked(
    tmp_path: Path, redis_url: str, board: Board
) -> None:
    secret = run(
        tmp_path,
        redis_url,
        "keys",
        "create",
        "--tenant",
        "acme",
        "--scope",
        "read",
        "--name",
        "laptop",
    )
    found = board.accounts.identify(secret)
    assert found is not None
    listed = run(tmp_path, redis_url, "keys", "list")
    new = run(tmp_path, redis_url, "keys", "rotate", found.key)
    revoked = run(tmp_path, redis_url, "keys", "revoke", found.key)

    assert re.fullmatch(rf"{found.key}  acme +read +since \d{{4}}-\d\d-\d\d +laptop", listed)
    assert secret not in listed
    assert re.fullmatch(r"psk_[A-Za-z0-9]{43}", new)
    assert new != secret
    assert revoked == f"{found.key} is revoked."
    assert "revoked 2" in run(tmp_path, redis_url, "keys", "list")
    with pytest.raises(PermissionError):
        board.accounts.identify(new)


def test_what_is_no_key_is_told(tmp_path: Path, redis_url: str) -> None:
    done = run_polyseme(["keys", "revoke", "key_none", "--redis-url", redis_url], tmp_path)

    assert done.returncode == 5
    assert done.stderr.startswith("There is no key key_none")


def test_with_json_there_is_nothing_else_on_stdout(
    tmp_path: Path, redis_url: str, board: Board
) -> None:
    made = json.loads(run(tmp_path, redis_url, "keys", "create", "--tenant", "acme", "--json"))
    rotated = json.loads(run(tmp_path, redis_url, "keys", "rotate", made["id"], "--json"))
    tenant = json.loads(
        run(tmp_path, redis_url, "tenants", "set", "acme", "--weight", "2", "--json")
    )
    revoked = json.loads(run(tmp_path, redis_url, "keys", "revoke", made["id"], "--json"))

    assert made["scopes"] == ["read", "submit"]
    assert made["secret"] != rotated["secret"]
    assert (tenant["id"], tenant["weight"]) == ("acme", 2.0)
    assert revoked == {"id": made["id"], "revoked": True}


def test_a_tenant_is_set_up_and_listed(tmp_path: Path, redis_url: str, board: Board) -> None:
    run(tmp_path, redis_url, "tenants", "set", "acme", "--weight", "2.5", "--active-jobs", "3")
    run(
        tmp_path,
        redis_url,
        "tenants",
        "set",
        "acme",
        "--stored-bytes",
        "0",
        "--active-jobs",
        "default",
    )

    listed = json.loads(run(tmp_path, redis_url, "tenants", "list", "--json"))

    assert board.accounts.get_tenant("acme") == Tenant("acme", weight=2.5, stored_bytes=0)
    assert listed["used"] == {"jobs": 0, "stored": 0}
    assert "acme" in run(tmp_path, redis_url, "tenants", "list")


@pytest.mark.parametrize("wrong", ["", "Acme", "a:b", "-a", "a" * 64, "a b", "a\n"])
def test_a_tenant_has_a_plain_name(wrong: str) -> None:
    with pytest.raises(CommandError, match="lower case"):
        check_tenant(wrong)


def test_scopes_and_quotas_are_checked() -> None:
    assert check_scopes(["submit", "read", "read"]) == ("read", "submit")
    assert (read_quota("active_jobs", "5"), read_quota("active_jobs", "default")) == (5, None)
    with pytest.raises(CommandError, match="--scope root"):
        check_scopes(["root"])
    with pytest.raises(CommandError, match="--active-jobs -1"):
        read_quota("active_jobs", "-1")


def test_a_folders_own_redis_is_used_while_it_runs_and_while_it_does_not(tmp_path: Path) -> None:
    standins, data = write_standins(tmp_path / "standins"), tmp_path / "data"
    first = run_polyseme(["keys", "create", "--data", str(data)], standins)
    with running_polyseme(
        ["up", "--port", str(free_port()), "--data", str(data)], standins
    ) as process:
        read_until(process, "Ready: ")
        second = run_polyseme(["keys", "create", "--data", str(data)], standins)
    listed = run_polyseme(["keys", "list", "--data", str(data), "--json"], standins)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert len(listed.stdout.splitlines()) == 2
    assert not (data / "redis" / "redis.url").exists()


def test_the_key_goes_with_every_request(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /v1/models", Answer({"data": []}))
    run_polyseme(["models", "--url", wire.url, "--api-key", "psk_abc"], tmp_path)
    run_polyseme(["models", "--url", wire.url], tmp_path)

    assert [a.headers.get("Authorization") for a in wire.asked] == ["Bearer psk_abc", None]
