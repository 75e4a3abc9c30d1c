"""`polyseme analyse` and `senses`: a request is made of options, posted, and its job watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from polyseme.client import DEFAULT_URL, Polyseme
from polyseme.commands.corpora import LanguageField, TextField, find_or_upload
from polyseme.commands.jobs import PATIENCE_S, Patience, follow, show_job
from polyseme.commands.terminal import (
    MISSING,
    REFUSED,
    ApiKey,
    AsJson,
    ResultJobId,
    Url,
    connect,
    find_result,
    note,
    say,
    show,
)
from polyseme.contract.plurals import counted
from polyseme.contract.records.request import Contexts
from polyseme.errors import CommandError
from polyseme.problems import Invalid
from polyseme.records import Estimate, Job, Note
from polyseme.steps import Json

T = TypeVar("T")

_Name = Annotated[
    str | None, typer.Option(help="What lists call the job: kept in its metadata as name.")
]
_Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Kept with the job; may be repeated."),
]
_Webhook = Annotated[str | None, typer.Option(help="A URL that is told when the job has ended.")]
_Vectors = Annotated[str | None, typer.Option(help="residual or window. [residual]")]
_Priority = Annotated[str | None, typer.Option(help="low, normal or high. [normal]")]
_SameAt = Annotated[
    float | None,
    typer.Option(
        help="How sure one must be that two groups mean the same before they are one sense. [0.35]"
    ),
]
_MinContexts = Annotated[int | None, typer.Option(help="Contexts of a sense, at least. [4]")]
_Watch = Annotated[
    bool, typer.Option("--watch/--no-watch", help="Show the progress until the job ends.")
]


def analyse(
    model: Annotated[str, typer.Argument(help="A model's id.")],
    corpus: Annotated[
        str, typer.Argument(help="A corpus' id, or a file or folder of texts, which is uploaded.")
    ],
    layers: Annotated[
        str | None, typer.Option(help='"all", or ranges such as "0-3,14". [all]')
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(help="Whose units: mlp, resid_post …, one of the model's `sites`. [mlp]"),
    ] = None,
    hook: Annotated[
        str | None,
        typer.Option(help="In place of --site and --layers: blocks.3-5.hook_resid_post."),
    ] = None,
    dictionary: Annotated[
        str | None,
        typer.Option(
            metavar="ID[,ID…]",
            help="In place of --site and --layers: latents of sparse dictionaries, one a layer.",
        ),
    ] = None,
    directions: Annotated[
        str | None,
        typer.Option(
            metavar="VECTORS",
            help="In place of --site and --layers: the id of uploaded directions, the units.",
        ),
    ] = None,
    neurons: Annotated[str, typer.Option(help='"all", or ranges.')] = "all",
    top_k: Annotated[
        int | None, typer.Option(help="Contexts of the largest activations. [60]")
    ] = None,
    sampled: Annotated[
        int | None, typer.Option(help="Contexts drawn from all that fires. [60]")
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
        bool | None,
        typer.Option(
            "--both-tails/--positive-tail",
            help="The most negative activations too. [of MLP neurons positive, of others both]",
        ),
    ] = None,
    same_at: _SameAt = None,
    alpha: Annotated[float | None, typer.Option(help="Deprecated: use --same-at.")] = None,
    min_contexts: _MinContexts = None,
    vectors: _Vectors = None,
    bos: Annotated[str | None, typer.Option(help="model, always or never. [model]")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Only the first so many tokens of the corpus.")
    ] = None,
    priority: _Priority = None,
    reuse: Annotated[
        bool, typer.Option(help="Take over layers that an earlier job scanned alike.")
    ] = True,
    name: _Name = None,
    metadata: _Metadata = None,
    webhook: _Webhook = None,
    corpus_name: Annotated[
        str | None, typer.Option(help="The id of the corpus that is uploaded. [by its content]")
    ] = None,
    field: TextField = None,
    language_field: LanguageField = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and run nothing.")
    ] = False,
    watch: _Watch = True,
    patience: Patience = PATIENCE_S,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Analyse a model's neurons, or a dictionary's latents, on a corpus: post a job and watch."""
    is_short = window is not None and window < Contexts.display_tokens
    contexts = {"window": window, "display_tokens": window if is_short else None}
    parts: dict[str, dict[str, Any]] = {
        "neurons": {
            "site": site,
            "hook": hook,
            "dictionary": None if dictionary is None else read_ids(dictionary),
            "layers": layers,
            "vectors": directions,
            "indices": neurons,
        },
        "contexts": {
            **_lists(top_k, sampled),
            **contexts,
            "tails": None if both_tails is None else "both" if both_tails else "positive",
        },
        "tokens": {"bos": bos, "max_tokens": max_tokens},
        "senses": {
            "same_at": same_at,
            "alpha": alpha,
            "min_contexts": min_contexts,
            "vectors": vectors,
        },
        "metadata": read_pairs(metadata or [], name),
        "webhook": {"url": webhook},
    }
    with connect(url, api_key) as client:
        found = find_or_upload(
            client, corpus, name=corpus_name, field=field, language_field=language_field
        )
        request = {"model": model, "corpus": {"id": found}} | _given(parts)
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
        _go_on(client, job, watch, patience, as_json)


def senses(
    job: ResultJobId,
    same_at: _SameAt = None,
    min_contexts: _MinContexts = None,
    vectors: _Vectors = None,
    priority: _Priority = None,
    name: _Name = None,
    metadata: _Metadata = None,
    webhook: _Webhook = None,
    watch: _Watch = True,
    patience: Patience = PATIENCE_S,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make the senses of a job anew with another grouping: a new job, without a scan.

    What is not given is as it was.
    """
    changes: dict[str, Any] = {
        "min_contexts": min_contexts,
        "vectors": vectors,
        "priority": priority,
        "metadata": read_pairs(metadata or [], name) or None,
        "webhook": None if webhook is None else {"url": webhook},
    }
    with connect(url, api_key) as client:
        made = client.regroup(find_result(client, job), same_at=same_at, **changes)
        _go_on(client, made, watch, patience, as_json)


def read_pairs(pairs: Sequence[str], name: str | None) -> dict[str, str]:
    """Metadata from NAME=VALUE, and the job's name among it. Raises CommandError."""
    found: dict[str, str] = {}
    for text in pairs:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise CommandError(f"--metadata {text}: expected NAME=VALUE.", exit_code=REFUSED)
        found[key] = value
    return found if name is None else found | {"name": name}


def read_ids(text: str) -> str | list[str]:
    """One id, or a list of those between commas."""
    ids = [part.strip() for part in text.split(",")]
    return ids if len(ids) > 1 else ids[0]


def _go_on(client: Polyseme, job: Job, watch: bool, patience_s: float, as_json: bool) -> None:
    if not watch:
        show_job(job, as_json, job.id)
        return
    if not as_json:
        say(job.id)
    follow(client, job.id, patience_s, as_json)


def _send(post: Callable[[Json], T], request: Json, one_per_document: bool | None) -> T:
    """Posts the request.

    Where nothing else was chosen, the documents of a small corpus may give several contexts.
    """
    try:
        return post(request)
    except Invalid as problem:
        if problem.code == "corpus_not_found":
            corpus = request["corpus"]["id"]
            raise CommandError(
                f"{corpus}: there is no such file or folder here, and the service has no corpus "
                "with this id.",
                exit_code=MISSING,
            ) from problem
        if problem.code != "too_few_documents" or one_per_document:
            raise
    request = _with_contexts(request, per_document=None)
    note(
        f"Fewer documents than {request['contexts']['top_k']}: one may give several contexts to "
        f"a list."
    )
    return post(request)


def _lists(top_k: int | None, sampled: int | None) -> Json:
    """Of a size of one's own all contexts are shown."""
    if top_k is None and sampled is None:
        return {"top_k": Contexts.top_k, "shown": Contexts.shown}
    return {"top_k": Contexts.top_k if top_k is None else top_k, "sampled": sampled}


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
    neurons = f"{counted(plan.neurons, 'neuron')} in {counted(plan.layers, 'layer')}"
    say(f"{counted(plan.tokens, 'token')}, {neurons}, {time}")


def _show_notes(notes: Iterable[Note]) -> None:
    for said in notes:
        note(f"Note: {said.message}")
