"""`polyseme dictionaries list`, `add`, `check` and `convert`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from polyseme.client import DEFAULT_URL
from polyseme.commands.dictionaries.entries import find_entry, find_model, make_entry, write_entry
from polyseme.commands.dictionaries.process import run_apart
from polyseme.commands.terminal import (
    FAILED,
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
from polyseme.contract.records.catalogue import FORMATS
from polyseme.errors import CommandError
from polyseme.records import Dictionary

app = typer.Typer(
    help="Sparse dictionaries (SAEs, transcoders) of the models. All but list is for operators.",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Option(help="Folder of the service that `polyseme up` runs.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(envvar="POLYSEME_CATALOGUE", help="The file of the models. [DATA/models.toml]"),
]
Format = Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")]

_DATA = Path("polyseme-data")


@app.command("list")
def list_dictionaries(
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List the dictionaries of the service, whose latents `polyseme analyse` takes."""
    with connect(url, api_key) as client:
        for found in client.dictionaries(model):
            if as_json:
                show(found.raw)
            else:
                say(_line(found))


@app.command("add")
def add_dictionary(
    dictionary: Annotated[str, typer.Argument(metavar="ID", help="What requests will call it.")],
    model: Annotated[str, typer.Argument(help="The id of its model in the catalogue.")],
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, a layer's file of a cross-layer transcoder, or a Hugging Face id."
        ),
    ],
    folder: Annotated[
        str | None, typer.Option(help="Of a Hugging Face id: the folder or file inside.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of a Hugging Face id; needed with one.")
    ] = None,
    form: Format = "auto",
    data: Data = _DATA,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Add a dictionary to the catalogue of a service on this machine."""
    file = catalogue or data / "models.toml"
    entry = write_entry(file, make_entry(dictionary, model, source, folder, revision, form))
    if as_json:
        show({**asdict(entry), "catalogue": str(file)})
    else:
        say(f"{entry.id} is in {file}: {entry.source}")
    where = "" if file == _DATA / "models.toml" else f" --catalogue {file}"
    note(f"Look at it: polyseme dictionaries check {entry.id}{where}")
    note("A service that runs reads it when its workers start again.")


@app.command("check")
def check_dictionary(
    dictionary: Annotated[
        str, typer.Argument(metavar="ID_OR_FOLDER", help="An id of the catalogue, or a folder.")
    ],
    texts: Annotated[
        Path | None, typer.Option(help="A file of texts: measure the fit on its first tokens.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Of a folder: the id of its model in the catalogue.")
    ] = None,
    form: Format = "auto",
    data: Data = _DATA,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Say what a dictionary is, and with --texts whether it fits its model; exit code 1 if not."""
    file = catalogue or data / "models.toml"
    entry = find_entry(file, dictionary, model or "", form)
    runs_on = None
    if texts is not None:
        if not texts.is_file():
            raise CommandError(f"{texts}: there is no such file.", exit_code=REFUSED)
        if not entry.model:
            raise CommandError("Say --model: texts are run through one.", exit_code=REFUSED)
        runs_on = asdict(find_model(file, entry.model))
    checked = run_apart(
        {
            "do": "check",
            "dictionary": asdict(entry),
            "model": runs_on,
            "texts": None if texts is None else str(texts.resolve()),
            "cache": str((data / "cache").resolve()),
        }
    )
    if as_json:
        show(checked)
    else:
        _say_card(checked)
        _say_fit(checked["fit"])
    if checked["fit"] and checked["fit"]["misfits"]:
        raise CommandError(f"{dictionary} does not fit.", exit_code=FAILED)


@app.command("convert")
def convert_dictionary(
    file: Annotated[Path, typer.Argument(help="A pickle: ae.pt, layer7.sae.pt, a .pth …")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    hook: Annotated[
        str | None, typer.Option(help="What it reads, such as blocks.8.hook_resid_post.")
    ] = None,
    model_name: Annotated[str | None, typer.Option("--model", help="Its model's name.")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="Of a top-k: active latents.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="topk or batchtopk, of an ae.pt that may be either.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a dictionary that is a pickle as files that can be read, in SAELens' layout."""
    if architecture not in (None, "topk", "batchtopk"):
        raise CommandError(
            f"--architecture {architecture}: say topk or batchtopk.", exit_code=REFUSED
        )
    hints = {"hook": hook, "model_name": model_name, "k": k, "architecture": architecture}
    made = run_apart(
        {
            "do": "convert",
            "file": str(file.resolve()),
            "target": str(target.resolve()),
            "hints": hints,
        }
    )
    if as_json:
        show({**made, "target": str(target)})
        return
    say(f"{file} is of {made['layout']}:")
    for name, value in made["found"].items():
        say(f"  {name:<28} {value}")
    settings = made["settings"]
    say(
        f"{target} has a {settings['architecture']} of {settings['d_sae']} latents at "
        f"{settings['metadata']['hook_name']}"
    )


def _line(found: Dictionary) -> str:
    what = "not read yet: its worker starts, or there is none"
    if found.latents is not None:
        place = f"{found.site}, layer {found.layer}"
        what = f"{counted(found.latents, 'latent')} of {place} ({found.architecture})"
    return f"{found.id:<28} {found.model:<28} {found.error or what}"


def _say_card(checked: dict[str, Any]) -> None:
    card, notes = checked["card"], checked["notes"]
    reads = card["hook"]
    if checked["target"] not in (None, card["hook"]):
        reads += f", decodes to {checked['target']}"
    if checked["target"] is None:
        reads += ", without a decoder"
    facts = {
        "format": card["format"],
        "architecture": card["architecture"],
        "reads": reads,
        "site": f"{card['site']}, layer {card['layer']}",
        "latents": f"{card['latents']:,} over {card['width']:,} numbers",
        "L0 expected": _number(card["expected_l0"]),
        "trained on": notes["model_name"] or "not said",
        "neuronpedia": card["neuronpedia"] or "not said",
        "sha256": card["sha256"],
    }
    if notes["from_pretrained_kwargs"]:
        options = notes["from_pretrained_kwargs"].items()
        facts["loaded with"] = ", ".join(f"{name}={value}" for name, value in options)
    for name, value in facts.items():
        say(f"{name:<14} {value}")


def _say_fit(fit: dict[str, Any] | None) -> None:
    if fit is None:
        return
    say(f"{'tokens':<14} {fit['here']['tokens']:,}")
    say(f"{'L0':<14} {fit['here']['l0']:.1f}")
    say(f"{'unexplained':<14} {_part(fit['here'])}")
    for name, other in fit["elsewhere"].items():
        say(f"{'':<14} {_part(other)} at {name}")
    for misfit in fit["misfits"]:
        say(f"WRONG          {misfit['detail']}")


def _part(fit: dict[str, Any]) -> str:
    part = fit["unexplained"]
    return "not measured: no decoder, or no variance" if part is None else f"{part:.3f}"


def _number(value: float | None) -> str:
    return "not said" if value is None else f"{value:g}"
