"""`polyseme corpora`: the texts that models run over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyseme.client import DEFAULT_URL, Polyseme
from polyseme.commands.terminal import (
    REFUSED,
    ApiKey,
    AsJson,
    Url,
    connect,
    note,
    say,
    show,
    show_all,
)
from polyseme.errors import CommandError
from polyseme.records import Corpus

app = typer.Typer(help="The corpora of the service.", no_args_is_help=True)

CorpusName = Annotated[
    str | None, typer.Option(help="The corpus' id; otherwise it comes from the content.")
]
SampleBy = Annotated[
    str | None, typer.Option(help="What a document is in plain text: line, paragraph or document.")
]
TextField = Annotated[
    str | None, typer.Option("--field", help="The JSON field that has the text. [text]")
]


@app.command("list")
def list_corpora(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the corpora, newest first."""
    with connect(url, api_key) as client:
        for corpus in client.corpora():
            if as_json:
                show(corpus.raw)
            else:
                say(_line(corpus))


@app.command("add")
def add_corpus(
    file: Annotated[
        Path, typer.Argument(exists=True, help=".txt, .jsonl, either as .gz, or a folder of them.")
    ],
    name: CorpusName = None,
    sample_by: SampleBy = None,
    field: TextField = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload texts: JSON lines with a field "text", or plain text with a document a line.

    Of a folder each .txt and .md is a document, and each line of each .jsonl.
    """
    with connect(url, api_key) as client:
        corpus = upload(client, file, name=name, sample_by=sample_by, field=field)
    if as_json:
        show(corpus.raw)
    else:
        say(_line(corpus))


@app.command("delete")
def delete_corpus(
    corpora: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Their ids.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Delete corpora. Results made from them stay."""
    with connect(url, api_key) as client:
        for corpus in corpora:
            client.delete_corpus(corpus)
            if as_json:
                show_all([{"id": corpus, "deleted": True}])
            else:
                say(f"{corpus} is deleted.")


def find_or_upload(client: Polyseme, corpus: str, name: str | None = None) -> str:
    """The id of a corpus that is named by its id, as it is or after "id:", or by a file or folder
    to upload.
    """
    if corpus.startswith("id:"):
        return corpus.removeprefix("id:")
    path = Path(corpus)
    if not path.exists():
        if "/" in corpus:
            raise CommandError(f"{corpus}: there is no such file or folder.", exit_code=REFUSED)
        return corpus
    note(f"Uploading {path} …")
    return upload(client, path, name=name).id


def upload(client: Polyseme, path: Path, **options: str | None) -> Corpus:
    if path.is_dir() and not any(
        p.suffix in (".txt", ".md", ".jsonl", ".ndjson") for p in path.rglob("*")
    ):
        raise CommandError(
            f"{path}: the folder has no .txt, .md or .jsonl file.", exit_code=REFUSED
        )
    corpus = client.add_file(path, **options)
    counts = {"duplicates": corpus.duplicates_dropped, "empty": corpus.empty_dropped}
    dropped = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    if dropped:
        note(f"Dropped: {', '.join(dropped)}.")
    return corpus


def _line(corpus: Corpus) -> str:
    return f"{corpus.id:<28} {corpus.documents:>9,} documents {corpus.characters:>13,} characters"
