"""The commands of `polyseme vectors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyseme.client import DEFAULT_URL
from polyseme.commands.terminal import (
    MISSING,
    ApiKey,
    AsJson,
    Url,
    connect,
    say,
    show,
    show_all,
)
from polyseme.contract.plurals import counted
from polyseme.errors import CommandError
from polyseme.records import VectorSet
from polyseme.steps import Query

app = typer.Typer(help="Directions of your own, as units of jobs.", no_args_is_help=True)


@app.command("list")
def list_vectors(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the sets of directions, newest first."""
    with connect(url, api_key) as client:
        for vectors in client.vector_sets():
            if as_json:
                show(vectors.raw)
            else:
                say(_line(vectors))


@app.command("add")
def add_vectors(
    file: Annotated[
        Path,
        typer.Argument(help="A safetensors file with `vectors` (count, width) and maybe `bias`."),
    ],
    model: Annotated[str | None, typer.Option(help="The model's id. [the file's]")] = None,
    site: Annotated[
        str | None, typer.Option(help="What they are directions of: resid_post … [the file's]")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Of which layer. [the file's]")] = None,
    name: Annotated[str | None, typer.Option(help="For lists and exports. [the file's]")] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Divide each, and its bias, by its length.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload directions: probes, steering vectors, differences of means."""
    if not file.is_file():
        raise CommandError(f"{file}: there is no such file.", exit_code=MISSING)
    query: dict[str, Query] = {"model": model, "site": site, "layer": layer, "name": name}
    query |= {"normalize": True} if normalize else {}
    with connect(url, api_key) as client:
        vectors = client.add_vectors_file(file, **query)
    if as_json:
        show(vectors.raw)
    else:
        say(_line(vectors))


@app.command("delete")
def delete_vectors(
    vectors: Annotated[list[str], typer.Argument(metavar="VECTORS...", help="Their ids.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Delete sets of directions. Results made from them stay."""
    with connect(url, api_key) as client:
        for name in vectors:
            client.delete_vectors(name)
            if as_json:
                show_all([{"id": name, "deleted": True}])
            else:
                say(f"{name} is deleted.")


def _line(vectors: VectorSet) -> str:
    place = f"{vectors.model} {vectors.site} {vectors.layer}"
    count = counted(vectors.count, "direction")
    return f"{vectors.id} {count:>16}  {place}  {vectors.name or ''}".rstrip()
