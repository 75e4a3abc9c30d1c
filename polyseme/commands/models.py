"""`polyseme models`: what may be analysed, and how a model of one's own gets into the catalogue."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from polyseme.client import DEFAULT_URL
from polyseme.commands.terminal import (
    MISSING,
    REFUSED,
    ApiKey,
    AsJson,
    Url,
    connect,
    note,
    say,
    show,
)
from polyseme.contract.plurals import counted
from polyseme.contract.records.catalogue import (
    MODEL_ID,
    Entry,
    load_catalogue,
    load_dictionaries,
)
from polyseme.errors import CommandError
from polyseme.records import Model

app = typer.Typer(help="The models that may be analysed. Without a subcommand: list them.")

Data = Annotated[Path, typer.Option(help="Folder of the service that `polyseme up` runs.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(envvar="POLYSEME_CATALOGUE", help="The file of the models. [DATA/models.toml]"),
]

_DATA = Path("polyseme-data")
_RESTART = (
    "Workers read the catalogue when they start: `polyseme up`; if it runs already, Ctrl-C first."
)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    if context.invoked_subcommand is None:
        list_models(url, api_key, as_json)


@app.command("list")
def list_models(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the models of the service."""
    with connect(url, api_key) as client:
        for model in client.models():
            if as_json:
                show(model.raw)
            else:
                say(_line(model))


@app.command("add")
def add_model(
    model: Annotated[str, typer.Argument(metavar="ID", help="What requests will call it.")],
    source: Annotated[
        str, typer.Argument(help="A folder, a .gguf file, or a Hugging Face id such as org/name.")
    ],
    revision: Annotated[
        str | None, typer.Option(help="Commit of a Hugging Face id; needed with one.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option(help="Only workers that serve this queue run it.")
    ] = None,
    data: Data = _DATA,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Add a model to the catalogue of a service on this machine.

    Its workers read it when they start.
    """
    file = catalogue or data / "models.toml"
    entry = write_entry(file, model, find_source(source), revision, queue)
    if as_json:
        show({"id": entry.id, "source": entry.source, "queue": entry.queue, "catalogue": str(file)})
    else:
        say(f"{entry.id} is in {file}: {entry.source}")
    note(_RESTART)


@app.command("remove")
def remove_model(
    model: Annotated[str, typer.Argument(metavar="ID", help="As the catalogue has it.")],
    data: Data = _DATA,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out of the catalogue of a service on this machine. Its files and results stay.

    Its workers read the catalogue when they start.
    """
    file = catalogue or data / "models.toml"
    remove_entry(file, model)
    if as_json:
        show({"id": model, "removed": True, "catalogue": str(file)})
    else:
        say(f"{model} is no more in {file}.")
    note(_RESTART)


def remove_entry(file: Path, model: str) -> None:
    """Cuts a model's table out of the catalogue, whole or not at all; the rest stays as it is
    written. Raises CommandError.
    """
    try:
        left, dictionaries = load_catalogue(file), load_dictionaries(file)
    except ValueError as e:
        raise CommandError(str(e), exit_code=REFUSED) from e
    if left.pop(model, None) is None:
        known = ", ".join(left) or "none"
        raise CommandError(f"{model} is not in {file}, which has {known}.", exit_code=MISSING)
    if of_it := [d.id for d in dictionaries.values() if d.model == model]:
        raise CommandError(
            f"{file}: {model} has the dictionaries {', '.join(of_it)}: take them out first, by "
            f"hand.",
            exit_code=REFUSED,
        )
    head, *tables = re.split(r"(?m)^(?=\[\[\w+\]\])", file.read_text(encoding="utf-8"))
    kept = [table for table in tables if not _is_of(tomllib.loads(table), model)]
    if len(kept) == len(tables):
        raise CommandError(f"{file}: {model} has no [[models]] table; take it out by hand.")
    replace_catalogue(file, head + "".join(kept))


def _is_of(table: dict[str, Any], model: str) -> bool:
    return "models" in table and table["models"][0]["id"] == model


def find_source(source: str) -> tuple[str, str]:
    """Kind and location, as the catalogue has them.

    Raises CommandError for what no worker could load.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        check_folder(path)
        return "path", str(path.resolve())
    if path.suffix == ".gguf":
        if not path.is_file():
            raise CommandError(f"{source}: there is no such file.", exit_code=REFUSED)
        return "gguf", str(path.resolve())
    owner, slash, name = source.partition("/")
    if (
        slash
        and owner
        and name
        and "/" not in name
        and not source.startswith((".", "~"))
        and not path.exists()
    ):
        return "hub", source
    raise CommandError(
        f"{source}: give a folder that is there, a .gguf file, or a Hugging Face id such as "
        f"org/name.",
        exit_code=REFUSED,
    )


def check_folder(folder: Path) -> None:
    """Raises CommandError when the folder is not as `save_pretrained` leaves it."""
    if not (folder / "config.json").is_file():
        raise CommandError(
            f"{folder}: it has no config.json, so it is no model folder.", exit_code=REFUSED
        )
    if not any(folder.glob("*.safetensors")):
        raise CommandError(
            f"{folder}: it has no *.safetensors. Other weights are never read; convert them with "
            "`model.save_pretrained(folder)`.",
            exit_code=REFUSED,
        )
    if not any(folder.glob("tokenizer*")):
        raise CommandError(
            f"{folder}: it has no tokenizer. Save it there with "
            f"`tokenizer.save_pretrained(folder)`.",
            exit_code=REFUSED,
        )


def write_entry(
    file: Path, model: str, source: tuple[str, str], revision: str | None, queue: str | None
) -> Entry:
    """Appends to the catalogue, whole or not at all.

    Raises CommandError when it would not be one afterwards.
    """
    if not MODEL_ID.fullmatch(model):
        raise CommandError(
            f"{model}: an id has lower case letters, digits, - _ and single dots.",
            exit_code=REFUSED,
        )
    kind, location = source
    if kind == "hub" and revision is None:
        raise CommandError(
            f"{location}: a Hugging Face id needs --revision, so that results can be repeated: "
            f"the commit at "
            f"https://huggingface.co/{location}/commits/main",
            exit_code=REFUSED,
        )
    text = (
        file.read_text(encoding="utf-8")
        if file.exists()
        else "# The models that may be analysed.\n"
    )
    given = {"id": model, kind: location, "revision": revision, "queue": queue}
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in given.items()
        if value is not None
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    return replace_catalogue(file, f"{text}\n[[models]]\n{''.join(lines)}")[model]


def replace_catalogue(file: Path, text: str) -> dict[str, Entry]:
    """Raises CommandError when the text is no catalogue; the file is then as it was."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        entries = load_catalogue(part)
        load_dictionaries(part)
        part.replace(file)
    except ValueError as e:
        raise CommandError(str(e).replace(str(part), str(file)), exit_code=REFUSED) from e
    finally:
        part.unlink(missing_ok=True)
    return entries


def _line(model: Model) -> str:
    size = "not described yet: its worker starts, or there is none"
    if model.layers:
        size = f"{counted(model.layers, 'layer')} of {counted(model.neurons or 0, 'neuron')}"
    return f"{model.id:<28} {model.error or size}"
