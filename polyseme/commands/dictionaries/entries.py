"""Dictionaries in the catalogue's file."""

from __future__ import annotations

import json
from pathlib import Path

from polyseme.commands.models import replace_catalogue
from polyseme.commands.terminal import MISSING, REFUSED
from polyseme.contract.records.catalogue import (
    DictionaryEntry,
    Entry,
    load_catalogue,
    load_dictionaries,
)
from polyseme.errors import CommandError


def make_entry(
    dictionary: str, model: str, source: str, folder: str | None, revision: str | None, form: str
) -> DictionaryEntry:
    """Raises CommandError for what is nowhere."""
    path = Path(source).expanduser()
    if path.exists():
        if folder or revision:
            raise CommandError(
                f"{source} is here: --folder and --revision are of a Hugging Face id.",
                exit_code=REFUSED,
            )
        return DictionaryEntry(dictionary, model, "path", str(path.resolve()), format=form)
    owner, slash, name = source.partition("/")
    if not (slash and owner and name) or "/" in name or source.startswith((".", "~")):
        raise CommandError(
            f"{source}: give a folder or file that is there, or a Hugging Face id such as "
            f"org/name.",
            exit_code=REFUSED,
        )
    if revision is None:
        raise CommandError(
            f"{source}: a Hugging Face id needs --revision, so that results can be repeated: the "
            f"commit at https://huggingface.co/{source}/commits/main",
            exit_code=REFUSED,
        )
    return DictionaryEntry(dictionary, model, "hub", source, folder or "", revision, form)


def write_entry(file: Path, entry: DictionaryEntry) -> DictionaryEntry:
    """Appends to the catalogue, whole or not at all.

    Raises CommandError when it would not be one afterwards.
    """
    if not file.exists():
        raise CommandError(
            f"{file}: there is no catalogue yet; add its model first: polyseme models add "
            f"{entry.model} …, or start `polyseme up` once, which adds the sample model",
            exit_code=MISSING,
        )
    where = (
        {"path": entry.location}
        if entry.kind == "path"
        else {"repo": entry.location, "folder": entry.folder or None, "revision": entry.revision}
    )
    form = None if entry.format == "auto" else entry.format
    given = {"id": entry.id, "model": entry.model, **where, "format": form}
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in given.items()
        if value is not None
    ]
    text = file.read_text(encoding="utf-8")
    replace_catalogue(file, f"{text}\n[[dictionaries]]\n{''.join(lines)}")
    return load_dictionaries(file)[entry.id]


def find_entry(file: Path, dictionary: str, model: str, form: str) -> DictionaryEntry:
    """Of the catalogue, or of a folder or file that is there. Raises CommandError."""
    if file.exists():
        try:
            known = load_dictionaries(file)
        except ValueError as e:
            raise CommandError(str(e), exit_code=REFUSED) from e
        if dictionary in known:
            return known[dictionary]
    path = Path(dictionary).expanduser()
    if path.exists():
        return DictionaryEntry(path.name, model, "path", str(path.resolve()), format=form)
    raise CommandError(
        f"{dictionary} is no dictionary in {file}, and no folder.", exit_code=MISSING
    )


def find_model(file: Path, model: str) -> Entry:
    """Raises CommandError for one that is not listed."""
    try:
        return load_catalogue(file)[model]
    except ValueError as e:
        raise CommandError(str(e), exit_code=REFUSED) from e
    except KeyError as e:
        raise CommandError(f"{model} is not in {file}.", exit_code=MISSING) from e
