"""`polyseme jobs` and `watch`: what jobs there are, and one up to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console

from polyseme.client import DEFAULT_URL, Polyseme
from polyseme.commands.progress import describe, job_progress
from polyseme.commands.terminal import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    ApiKey,
    AsJson,
    JobId,
    Url,
    connect,
    find_job,
    note,
    reason,
    say,
    show,
)
from polyseme.errors import CommandError
from polyseme.records import Job

app = typer.Typer(help="The jobs of the service. Without a subcommand: list them.")

Patience = Annotated[
    float, typer.Option(min=0, help="Seconds that the service may be away meanwhile.")
]
_Most = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]

PATIENCE_S = 120.0
_LISTED = 100


def watch(
    job: JobId,
    patience: Patience = PATIENCE_S,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's progress until it ends. The service may be started anew meanwhile."""
    with connect(url, api_key) as client:
        follow(client, find_job(client, job), patience, as_json)


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    limit: _Most = _LISTED,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    if context.invoked_subcommand is None:
        list_jobs(limit=limit, url=url, api_key=api_key, as_json=as_json)


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only such.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Only on this corpus.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE", help="Only those with this metadata.")
    ] = None,
    limit: _Most = _LISTED,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if name is not None and metadata is not None:
        raise CommandError("--name is metadata too: give one of the two.", exit_code=REFUSED)
    pair = metadata if name is None else f"name={name}"
    with connect(url, api_key) as client:
        rows = client.jobs(status=status, model=model, corpus=corpus, metadata=pair)
        found = list(islice(rows, limit))
    if as_json:
        for job in found:
            show(job.raw)
        return
    for line in job_lines(found):
        say(line)


@app.command("show")
def show_one(
    job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one job as it is now."""
    with connect(url, api_key) as client:
        state = client.job(find_job(client, job))
    show_job(state, as_json, _line(state))


@app.command("cancel")
def cancel_job(
    job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """End a job. One that has ended stays as it is."""
    with connect(url, api_key) as client:
        state = client.cancel(find_job(client, job))
    show_job(state, as_json, f"{state.id} {state.status}")


@app.command("delete")
def delete_job(
    job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Delete an ended job and its result."""
    with connect(url, api_key) as client:
        job = find_job(client, job)
        client.delete(job)
    if as_json:
        show({"id": job, "deleted": True})
    else:
        say(f"{job} is deleted.")


def follow(client: Polyseme, job: str, patience_s: float, as_json: bool) -> None:
    """Shows the progress, then the job. Raises CommandError when it does not succeed."""
    try:
        with job_progress(Console(stderr=True)) as tell:
            state = client.wait(job, tell, patience_s=patience_s)
    except KeyboardInterrupt as e:
        message = (
            f"{job} goes on. `polyseme watch {job}` shows it, `polyseme jobs cancel {job}` ends it."
        )
        raise CommandError(message, exit_code=INTERRUPTED) from e
    if as_json:
        show(state.raw)
    if not state.succeeded:
        raise CommandError(f"{job} {state.status}: {reason(state)}", exit_code=FAILED)
    if not as_json:
        say(_line(state))
        note(f"Next: polyseme neurons {job}")


def show_job(job: Job, as_json: bool, line: str) -> None:
    if as_json:
        show(job.raw)
    else:
        say(line)


def job_lines(jobs: Sequence[Job]) -> Iterator[str]:
    """A line a job, in columns: what it is, on what, and how far."""
    rows = [_cells(job) for job in jobs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _line(job: Job) -> str:
    return next(job_lines([job]))


def _cells(job: Job) -> tuple[str, ...]:
    request = job.request
    corpus = request.get("corpus", {}).get("id", "")
    units = describe_units(request.get("neurons", {}))
    name = job.metadata.get("name", "")
    return (
        *(job.id, job.status, job.created_at[:16].replace("T", " "), request.get("model", "")),
        *(corpus, units, _describe_grouping(request), name, describe(job)),
    )


def describe_units(neurons: Mapping[str, Any]) -> str:
    """Which of the model's neurons, as "layers 0-3, neurons 7"; of other units also what they
    are, as "latents of post-3" or "resid_post, layers 0-3".
    """
    layers, indices = (_as_ranges(neurons.get(n, "all")) for n in ("layers", "indices"))
    site = neurons.get("site", "mlp")
    units = "neurons" if site == "mlp" else "units"
    if names := neurons.get("dictionary"):
        parts, units = [f"latents of {', '.join(names)}"], "latents"
    else:
        parts = [] if site == "mlp" else [neurons.get("vectors") or site]
        parts.append("all layers" if layers == "all" else f"layers {layers}")
    return ", ".join(parts if indices == "all" else [*parts, f"{units} {indices}"])


def _as_ranges(selection: str | Sequence[int]) -> str:
    return selection if isinstance(selection, str) else ",".join(map(str, selection))


def _describe_grouping(request: Mapping[str, Any]) -> str:
    senses = request.get("senses", {})
    if not senses.get("enabled", True):
        return "no senses"
    anew = " anew" if request.get("source_job") else ""
    return f"same at {senses['same_at']:g}{anew}" if "same_at" in senses else ""
