"""`polyseme webhooks`: the secret that signs events, read and replaced on the board itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyseme.errors import CommandError

if TYPE_CHECKING:
    from polyseme.contract.board.outbox import Outbox

app = typer.Typer(help="The secret that signs webhooks.", no_args_is_help=True)

Tenant = Annotated[str, typer.Option(help="Whose events it signs.")]
Data = Annotated[Path, typer.Option(help="Folder of a service that `polyseme up` runs.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar=["POLYSEME_REDIS_URL", "REDIS_URL"],
        help="Where the board is; else that of the folder.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON: an object with `secret` a line.")]

_DATA = Path("polyseme-data")


@app.command()
def secret(
    tenant: Tenant = "default",
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the secret; for a day after a rotation, the one before it too."""
    for each in _outbox(data, redis_url).list_secrets(tenant):
        print(_shown(each, as_json))


@app.command()
def rotate(
    tenant: Tenant = "default",
    data: Data = _DATA,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a new secret and show it. The one before it signs beside it for a day."""
    print(_shown(_outbox(data, redis_url).rotate_secret(tenant), as_json))


def _shown(secret: str, as_json: bool) -> str:
    return json.dumps({"secret": secret}) if as_json else secret


def _outbox(data: Path, redis_url: str | None) -> Outbox:
    """Raises CommandError when no Redis answers."""
    from polyseme.contract.board.outbox import Outbox
    from polyseme.stack.stack import answers_ping, hide_password, running_redis

    url = redis_url or running_redis(data)
    if url is None or not answers_ping(url):
        where = hide_password(url or f"unix://{(data / 'redis').resolve()}")
        raise CommandError(
            f"No Redis answers at {where}. Run `polyseme up` on that folder, or give --redis-url."
        )
    return Outbox.connect(url)
