"""`polyseme analyse`, `jobs` and `watch`: jobs from their posting to their end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from polyseme.client import DEFAULT_URL, Polyseme
from polyseme.commands.corpora import CorpusName, find_or_upload
from polyseme.commands.progress import describe, job_progress
from polyseme.commands.terminal import (
    FAILED,
    INTERRUPTED,
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
from polyseme.contract.records.request import Contexts
from polyseme.errors import CommandError
from polyseme.problems import Invalid
from polyseme.records import Estimate, Job, Note
from polyseme.steps import Json

app = typer.Typer(help="The jobs of the service. Without a subcommand: list them.")

T = TypeVar("T")

Patience = Annotated[
    float, typer.Option(min=0, help="Seconds that the service may be away meanwhile.")
]
_Most = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]

_PATIENCE_S = 120.0
_LISTED = 100


def analyse(
    model: Annotated[str, typer.Argument(help="A model's id.")],
    corpus: Annotated[
        str, typer.Argument(help="A corpus' id, or a file or folder of texts, which is uploaded.")
    ],
    layers: Annotated[str, typer.Option(help='"all", or ranges such as "0-3,14".')] = "all",
    neurons: Annotated[str, typer.Option(help='"all", or ranges.')] = "all",
    top_k: Annotated[
        int | None, typer.Option(help="Contexts of the largest activations. [60]")
    ] = None,
    one_per_document: Annotated[
        bool | None,
        typer.Option(
            "--one-per-document/--any-per-document",
            help="Contexts that a document may give to one list. [one, if the corpus has --top-k "
            "documents]",
        ),
    ] = None,
    window: Annotated[int | None, typer.Option(help="Tokens. [128]")] = None,
    both_tails: Annotated[
        bool, typer.Option("--both-tails", help="The most negative activations too.")
    ] = False,
    same_at: Annotated[
        float | None,
        typer.Option(
            help="How sure one must be that two groups mean the same before they are one sense. "
            "[0.35]"
        ),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Deprecated: use --same-at.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Only the first so many tokens of the corpus.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high. [normal]")] = None,
    reuse: Annotated[
        bool, typer.Option(help="Take over layers that an earlier job scanned alike.")
    ] = True,
    name: CorpusName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and run nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Show the progress until the job ends.")
    ] = True,
    patience: Patience = _PATIENCE_S,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Analyse a model's neurons on a corpus: post a job and watch it."""
    is_short = window is not None and window < Contexts.display_tokens
    contexts = {"window": window, "display_tokens": window if is_short else None}
    parts: dict[str, dict[str, Any]] = {
        "neurons": {"layers": layers, "indices": neurons},
        "contexts": {**_lists(top_k), **contexts, "tails": "both" if both_tails else None},
        "tokens": {"max_tokens": max_tokens},
        "senses": {"same_at": same_at, "alpha": alpha},
    }
    with connect(url, api_key) as client:
        request = {"model": model, "corpus": {"id": find_or_upload(client, corpus, name)}} | _given(
            parts
        )
        request |= {} if priority is None else {"priority": priority}
        request |= {} if reuse else {"reuse": False}
        if one_per_document is not None:
            request = _with_contexts(request, per_document=1 if one_per_document else None)
        if dry_run:
            plan = _send(client.plan, request, one_per_document)
            _show_plan(plan, as_json)
            _show_notes(plan.notes)
            return
        job = _send(client.submit, request, one_per_document)
        _show_notes(job.notes)
        if not watch:
            _show_job(job, as_json, job.id)
            return
        if not as_json:
            say(job.id)
        follow(client, job.id, patience, as_json)


def watch(
    job: JobId,
    patience: Patience = _PATIENCE_S,
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
    limit: _Most = _LISTED,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connect(url, api_key) as client:
        for _, job in zip(
            range(limit), client.jobs(status=status, model=model, corpus=corpus), strict=False
        ):
            _show_job(job, as_json, _line(job))


@app.command("show")
def show_job(
    job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one job as it is now."""
    with connect(url, api_key) as client:
        state = client.job(find_job(client, job))
    _show_job(state, as_json, _line(state))


@app.command("cancel")
def cancel_job(
    job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """End a job. One that has ended stays as it is."""
    with connect(url, api_key) as client:
        state = client.cancel(find_job(client, job))
    _show_job(state, as_json, f"{state.id} {state.status}")


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


def _send(post: Callable[[Json], T], request: Json, one_per_document: bool | None) -> T:
    """Posts the request.

    Where nothing else was chosen, the documents of a small corpus may give several contexts.
    """
    try:
        return post(request)
    except Invalid as problem:
        if problem.code != "too_few_documents" or one_per_document:
            raise
    request = _with_contexts(request, per_document=None)
    note(
        f"Fewer documents than {request['contexts']['top_k']}: one may give several contexts to "
        f"a list."
    )
    return post(request)


def _lists(top_k: int | None) -> Json:
    """Of a size of one's own all contexts are shown."""
    if top_k is None:
        return {"top_k": Contexts.top_k, "shown": Contexts.shown}
    return {"top_k": top_k}


def _with_contexts(request: Json, **changes: Any) -> Json:
    return request | {"contexts": request["contexts"] | changes}


def _given(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was set; the rest is the service's default."""
    given = {name: {k: v for k, v in part.items() if v is not None} for name, part in parts.items()}
    return {name: part for name, part in given.items() if part}


def _show_plan(plan: Estimate, as_json: bool) -> None:
    if as_json:
        show(plan.raw)
        return
    seconds = plan.seconds
    time = "time unknown" if seconds is None else f"about {seconds:,.0f} s on one worker"
    say(f"{plan.tokens:,} tokens, {plan.neurons:,} neurons in {plan.layers} layers, {time}")


def _show_notes(notes: Iterable[Note]) -> None:
    for said in notes:
        note(f"Note: {said.message}")


def _show_job(job: Job, as_json: bool, line: str) -> None:
    if as_json:
        show(job.raw)
    else:
        say(line)


def _line(job: Job) -> str:
    return f"{job.id}  {job.status:<10} {job.created_at}  {describe(job)}".rstrip()
