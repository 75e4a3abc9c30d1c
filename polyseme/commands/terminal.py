"""What the commands that talk to a service share: its address, JSON or text, and what an exit code
means.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from polyseme.client import Polyseme
from polyseme.errors import CommandError
from polyseme.problems import ClientError, Problem, Unreachable, Unreadable
from polyseme.records import Activations, Job

FAILED = 1  # a job or a check failed, or the service did
REFUSED = 2  # used wrongly, or the service refused what it was sent
UNREACHABLE = 3
NOT_ALLOWED = 4
MISSING = 5  # no such thing, or no longer
BUSY = 6  # try again later
INTERRUPTED = 130
_CODES = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: MISSING, 410: MISSING, 429: BUSY, 503: BUSY}

Url = Annotated[str, typer.Option(envvar="POLYSEME_URL", help="Of the service.")]
ApiKey = Annotated[
    str | None, typer.Option(envvar="POLYSEME_API_KEY", help="psk_…; better in the variable.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="The service's JSON, an object a line, and nothing else.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help='A job\'s id, or "last" for the newest.')]
ResultJobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help='A job\'s id, or "last" for the newest that has succeeded.'),
]


@contextmanager
def connect(url: str, api_key: str | None, *, timeout_s: float = 60.0) -> Iterator[Polyseme]:
    """A service that is not there is told at once."""
    with Polyseme(url, api_key=api_key, timeout_s=timeout_s, patience_s=0) as client:
        yield client


def find_job(client: Polyseme, job: str) -> str:
    """The id of a job; "last" is the newest."""
    return _find_last(client, job, None)


def find_result(client: Polyseme, job: str) -> str:
    """The id of a job whose result is read; "last" is the newest that has succeeded."""
    return _find_last(client, job, "succeeded")


def _find_last(client: Polyseme, job: str, status: str | None) -> str:
    if job != "last":
        return job
    for newest in client.jobs(status=status).first(1):
        return newest.id
    which = "no job" if status is None else "no job that has succeeded"
    raise CommandError(f"There is {which} yet; `polyseme analyse` makes one.", exit_code=MISSING)


def exit_code(error: ClientError) -> int:
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, Unreadable):
        return REFUSED
    if isinstance(error, Problem):
        return _CODES.get(error.status, REFUSED if error.status < 500 else FAILED)
    return FAILED


def describe_error(error: ClientError) -> str:
    """The sentence, where in the request it was wrong, and what to do about it."""
    lines = [str(error)]
    if isinstance(error, Problem):
        # What the sentence says already has its place there, and no line of its own.
        said = {str(e.get("detail")): str(e.get("pointer") or "/") for e in error.errors}
        if len(said) == 1 and error.detail in said:
            lines = [f"{said[error.detail]}: {error}"]
        else:
            lines += [f"  {pointer}: {detail}" for detail, pointer in said.items()]
        if error.status == 401:
            lines.append("Give an API key with --api-key or in POLYSEME_API_KEY.")
    elif isinstance(error, Unreachable):
        lines.append(
            "Start a service with `polyseme up`, or say where one is with --url or POLYSEME_URL."
        )
    return "\n".join(lines)


def reason(ended: Job | Activations) -> str:
    """Why it did not succeed."""
    return ended.error.detail if ended.error else "no reason was given"


def show(value: Any) -> None:
    """JSON on a line."""
    say(json.dumps(value, ensure_ascii=False))


def show_all(values: Iterable[Any]) -> None:
    for value in values:
        show(value)


def say(text: str) -> None:
    print(text, flush=True)


def note(text: str) -> None:
    """For people: never among what a program reads."""
    print(text, file=sys.stderr, flush=True)


def output() -> Console:
    """Where there is no terminal, no line is cut to one's width."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=160)
