"""`polyseme keys` and `polyseme tenants`: who may use a service.

They speak to its Redis, not to its API.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from polyseme.contract.names import DEFAULT_TENANT, TENANT_ID
from polyseme.contract.records.tenants import SCOPES, ApiKey, Scope, Tenant
from polyseme.errors import CommandError

if TYPE_CHECKING:
    from polyseme.contract.board.accounts import Accounts

keys_app = typer.Typer(help="The API keys of the service.", no_args_is_help=True)
tenants_app = typer.Typer(
    help="The tenants of the service, their weights and quotas.", no_args_is_help=True
)

Data = Annotated[
    Path, typer.Option(help="Folder of what is kept, when the service uses its own Redis.")
]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar=["POLYSEME_REDIS_URL", "REDIS_URL"], help="The Redis of the service."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, an object a line.")]
KeyId = Annotated[str, typer.Argument(help="The id of a key, from `polyseme keys list`.")]
TenantId = Annotated[str, typer.Argument(help="Lower case letters, digits, - and _.")]
Quota = Annotated[str | None, typer.Option(metavar="N|default", help="0 is no limit.")]

_DATA = Path("polyseme-data")


@keys_app.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whose key it is.")] = DEFAULT_TENANT,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated. [read and submit]"),
    ] = None,
    name: Annotated[str, typer.Option(help="What lists call it.")] = "",
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: this once. From the first on, no request is served without one."""
    check_tenant(tenant)
    scopes = check_scopes(scope or ["read", "submit"])
    with open_accounts(data, redis_url) as accounts:
        key, secret = accounts.create_key(tenant, scopes, name[:200])
    print(
        f"{key.id}: tenant {tenant}, {', '.join(scopes)}. Keep the key; it is not shown again.",
        file=sys.stderr,
    )
    print(json.dumps(asdict(key) | {"secret": secret}) if as_json else secret)


@keys_app.command("list")
def list_keys(data: Data = _DATA, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """List the keys, revoked ones too; what they are cannot be shown."""
    with open_accounts(data, redis_url) as accounts:
        for key in accounts.list_keys():
            print(json.dumps(asdict(key)) if as_json else _key_line(key))


@keys_app.command("revoke")
def revoke_key(
    key: KeyId, data: Data = _DATA, redis_url: RedisUrl = None, as_json: AsJson = False
) -> None:
    """End a key at once. The service stays closed, also after the last."""
    with open_accounts(data, redis_url) as accounts:
        if not accounts.revoke_key(key):
            raise _no_key(key)
    print(json.dumps({"id": key, "revoked": True}) if as_json else f"{key} is revoked.")


@keys_app.command("rotate")
def rotate_key(
    key: KeyId,
    keep_s: Annotated[
        int, typer.Option(min=0, help="Seconds that the old one holds beside the new.")
    ] = 0,
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, and print it: this once."""
    with open_accounts(data, redis_url) as accounts:
        secret = accounts.rotate_key(key, keep_s=keep_s)
    if secret is None:
        raise _no_key(key)
    print(f"{key} has a new secret; the old one holds {keep_s} s more.", file=sys.stderr)
    print(json.dumps({"id": key, "secret": secret}) if as_json else secret)


@tenants_app.command("list")
def list_tenants(data: Data = _DATA, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """List the tenants, what is set for them, and what they use."""
    with open_accounts(data, redis_url) as accounts:
        for tenant in accounts.list_tenants():
            used = {
                "jobs": accounts.count_active(tenant.id),
                "stored": accounts.stored_bytes(tenant.id),
            }
            print(
                json.dumps(asdict(tenant) | {"used": used})
                if as_json
                else _tenant_line(tenant, used)
            )


@tenants_app.command("set")
def set_tenant(
    tenant: TenantId,
    weight: Annotated[
        float | None, typer.Option(help="Share of the workers beside others'; 1 by default.")
    ] = None,
    active_jobs: Quota = None,
    queued_tokens: Quota = None,
    stored_bytes: Quota = None,
    requests_per_minute: Quota = None,
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Set a tenant's weight and quotas; what is not given stays as it is."""
    check_tenant(tenant)
    if weight is not None and not 0 < weight <= 1000:
        raise CommandError(f"--weight {weight}: more than 0, at most 1000.", exit_code=2)
    given = {"active_jobs": active_jobs, "queued_tokens": queued_tokens}
    given |= {"stored_bytes": stored_bytes, "requests_per_minute": requests_per_minute}
    changes: dict[str, Any] = {
        name: read_quota(name, text) for name, text in given.items() if text is not None
    }
    if weight is not None:
        changes["weight"] = weight
    with open_accounts(data, redis_url) as accounts:
        changed = replace(accounts.get_tenant(tenant), **changes)
        accounts.put_tenant(changed)
    print(json.dumps(asdict(changed)) if as_json else _tenant_line(changed, {}))


@contextmanager
def open_accounts(data: Path, redis_url: str | None) -> Iterator[Accounts]:
    """Those in the given Redis, in that of the stack that runs on the folder, or in the folder's
    own, started for it.

    Raises CommandError when none of them answers.
    """
    # Not for those who only talk to a service over HTTP.
    import redis

    from polyseme.contract.board.board import Board

    try:
        with find_redis(data, redis_url) as url:
            yield Board.connect(url).accounts
    except redis.RedisError as e:
        raise CommandError(f"Redis does not answer: {e}") from e


@contextmanager
def find_redis(data: Path, redis_url: str | None) -> Iterator[str]:
    """The URL of a service's Redis, as `open_accounts` finds it."""
    from polyseme.stack.stack import Options, lock_folder, redis_folder, running_redis, server_for

    if url := redis_url or running_redis(data):
        yield url
        return
    options = Options(data)
    with (
        lock_folder(options),
        redis_folder(options) as socket_file,
        server_for(options, socket_file) as url,
    ):
        yield url


def check_tenant(tenant: str) -> None:
    if not TENANT_ID.fullmatch(tenant):
        raise CommandError(
            f"tenant {tenant!r}: 1 to 63 lower case letters, digits, - and _.", exit_code=2
        )


def check_scopes(scopes: list[str]) -> tuple[Scope, ...]:
    """In their order, each once. Raises CommandError."""
    if wrong := [s for s in scopes if s not in SCOPES]:
        raise CommandError(f"--scope {wrong[0]}: use {', '.join(SCOPES)}.", exit_code=2)
    return cast(tuple[Scope, ...], tuple(s for s in SCOPES if s in scopes))


def read_quota(name: str, text: str) -> int | None:
    """A whole number, or None for "default". Raises CommandError."""
    if text == "default":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise CommandError(
            f"--{name.replace('_', '-')} {text}: a whole number from 0, or default.", exit_code=2
        )
    return int(text)


def _no_key(key: str) -> CommandError:
    return CommandError(
        f"There is no key {key} that is not revoked; see `polyseme keys list`.", exit_code=5
    )


def _key_line(key: ApiKey) -> str:
    state = (
        f"revoked {_day(key.revoked_at)}"
        if key.revoked_at
        else f"since {_day(key.rotated_at or key.created_at)}"
    )
    return f"{key.id}  {key.tenant:<20} {','.join(key.scopes):<18} {state:<20} {key.name}".rstrip()


def _tenant_line(tenant: Tenant, used: dict[str, int]) -> str:
    quotas = [f"{n}={getattr(tenant, n)}" for n in ("active_jobs", "queued_tokens", "stored_bytes")]
    quotas = [*quotas, f"requests_per_minute={tenant.requests_per_minute}"]
    use = f"  ({used['jobs']} jobs, {used['stored']:,} bytes)" if used else ""
    return (
        f"{tenant.id:<20} weight={tenant.weight:g} "
        f"{' '.join(quotas).replace('None', 'default')}{use}"
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
