"""`polyseme neurons`, `neuron` and `export`: what came out of a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import typer
from rich.table import Table

from polyseme.client import DEFAULT_URL
from polyseme.commands.show import checked_block, count_statuses, neuron_block, visible
from polyseme.commands.terminal import (
    REFUSED,
    ApiKey,
    AsJson,
    ResultJobId,
    Url,
    connect,
    find_result,
    note,
    output,
    reason,
    say,
    show,
)
from polyseme.contract.plurals import counted
from polyseme.errors import CommandError
from polyseme.records import Activations
from polyseme.reports import TABLE_COLUMNS
from polyseme.steps import Query

_PAGE = 1000
_SILENCE_S = 4.0  # until one is told why there is no answer yet
_BUSY = "Waiting: a worker that is busy answers when its present unit of work is done."
_SENTENCES = ("meaning", "negative_meaning")


def neurons(
    job: ResultJobId,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="At most so many.")] = 20,
    sort: Annotated[
        str, typer.Option(help="Columns; - before one for descending.")
    ] = "-polysemanticity",
    layer: Annotated[str | None, typer.Option(help='Ranges such as "0-3,14".')] = None,
    neuron: Annotated[str | None, typer.Option(help="Ranges.")] = None,
    status: Annotated[str | None, typer.Option(help="Such as polysemantic.")] = None,
    token: Annotated[str | None, typer.Option(help="Only neurons that peak on it.")] = None,
    meaning: Annotated[
        str | None, typer.Option(help="Only neurons whose sentence has this text in it.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Such as min_coverage=0.75; may be repeated."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--fields", help="Columns to show, with commas between.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List neurons: by default the most polysemantic."""
    query: dict[str, Query] = {
        "sort": sort,
        "layer": layer,
        "neuron": neuron,
        "status": status,
        "token": token,
        "meaning": meaning,
    }
    query |= {"fields": columns, "limit": min(top, _PAGE)} | _read_filters(where or [])
    with connect(url, api_key) as client:
        job = find_result(client, job)
        rows = [row.raw for row in islice(client.neurons(job, **query), top)]
        if not rows:
            note(f"No such neuron. The job has {count_statuses(client.summary(job))}.")
    if as_json:
        for row in rows:
            show(row)
    else:
        output().print(_table(rows, columns.split(",") if columns else TABLE_COLUMNS))


def neuron(
    job: ResultJobId,
    layer: Annotated[int, typer.Argument(min=0)],
    neuron: Annotated[int, typer.Argument(min=0)],
    text: Annotated[str | None, typer.Option(help="Show what it does in this text.")] = None,
    contexts: Annotated[int, typer.Option(min=0, help="Of a sense, at most so many.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show what makes one neuron fire, or what it does in a text of your own."""
    with connect(url, api_key) as client:
        job = find_result(client, job)
        if text is None:
            report = client.neuron(job, layer, neuron)
            raw, block = report.raw, neuron_block(report, contexts=contexts)
        else:
            with _saying_that_it_waits():
                check = client.activations(job, text, [(layer, neuron)])
            _insist_on_success(check)
            raw, block = check.raw, checked_block(check)
    if as_json:
        show(raw)
    else:
        output().print(block, highlight=False)


@contextmanager
def _saying_that_it_waits() -> Iterator[None]:
    timer = Timer(_SILENCE_S, note, [_BUSY])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def export(
    job: ResultJobId,
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it.")],
    form: Annotated[
        str, typer.Option("--format", help="parquet (a zip of the files), ndjson or neuronpedia.")
    ] = "parquet",
    layer: Annotated[str | None, typer.Option(help='Only these: ranges such as "0-3,14".')] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's whole result."""
    part = file.with_name(file.name + ".part")
    try:
        with connect(url, api_key) as client, part.open("wb") as content:
            size = client.export(find_result(client, job), form, content, layer=layer)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    if as_json:
        show({"file": str(file), "bytes": size})
    else:
        say(f"{file}: {format_size(size)}")


def format_size(size: int) -> str:
    """Bytes, and in a unit in which there are fewer than 1000 of it."""
    whole = counted(size, "byte")
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= least:
            return f"{size / least:.1f} {unit} ({whole})"
    return whole


def _read_filters(given: Sequence[str]) -> dict[str, Query]:
    filters: dict[str, Query] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise CommandError(
                f"--where {text}: expected NAME=VALUE, such as min_coverage=0.75.",
                exit_code=REFUSED,
            )
        filters[name] = value
    return filters


def _insist_on_success(check: Activations) -> None:
    if check.status != "succeeded":
        raise CommandError(f"{check.id} {check.status}: {reason(check)}")


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = any(isinstance(row.get(name), int | float) for row in rows)
        is_text = name in _SENTENCES
        title = name.replace("_", " ")
        table.add_column(title, justify="right" if right else "left", no_wrap=not is_text)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def _cell(value: Any) -> Any:
    from rich.text import Text

    if value is None:
        return ""
    return Text(f"{value:.3f}" if isinstance(value, float) else visible(str(value)))
