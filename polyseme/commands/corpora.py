"""`polyseme corpora`: the texts that models run over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyseme.client import DEFAULT_URL, Polyseme
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
    show_all,
)
from polyseme.contract.plurals import counted
from polyseme.errors import CommandError
from polyseme.records import Corpus
from polyseme.uploads import Folder

app = typer.Typer(help="The corpora of the service.", no_args_is_help=True)

CorpusName = Annotated[
    str | None, typer.Option(help="The corpus' id; otherwise it comes from the content.")
]
SampleBy = Annotated[
    str | None, typer.Option(help="What a document is in plain text: line, paragraph or document.")
]
TextField = Annotated[
    str | None,
    typer.Option(
        "--field",
        help="The JSON field or the column that has the text. [text; needed for CSV and TSV]",
    ),
]
LanguageField = Annotated[
    str | None,
    typer.Option(
        help="The JSON field or the column that names a document's language, such as de. [none]"
    ),
]
FileFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="text, jsonl, json, csv, tsv or parquet, to be refused if it is another; otherwise "
        "what is inside decides.",
    ),
]
OnBadLine = Annotated[
    str | None,
    typer.Option(help="skip: count a line that is no document instead of refusing it. [error]"),
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
        Path,
        typer.Argument(
            help="Text, JSON, CSV, TSV or Parquet, packed with gzip or zstd or not; or a folder.",
        ),
    ],
    name: CorpusName = None,
    sample_by: SampleBy = None,
    field: TextField = None,
    language_field: LanguageField = None,
    file_format: FileFormat = None,
    on_bad_line: OnBadLine = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Upload texts: plain text with a document a line, JSON lines or an array, CSV, TSV, Parquet.

    What is inside decides, not the name. Of a folder each text file is a document, and each line,
    element or row of the others; what is left out is named.
    """
    options = {"sample_by": sample_by, "field": field, "format": file_format}
    options |= {"language_field": language_field}
    with connect(url, api_key) as client:
        corpus = upload(client, file, name=name, on_bad_line=on_bad_line, **options)
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


def find_or_upload(client: Polyseme, corpus: str, **options: str | None) -> str:
    """The id of a corpus that is named by its id, as it is or after "id:", or by a file or folder
    to upload. options: of the upload.
    """
    if corpus.startswith("id:"):
        return corpus.removeprefix("id:")
    path = Path(corpus)
    if not path.exists():
        if "/" in corpus:
            raise CommandError(f"{corpus}: there is no such file or folder.", exit_code=MISSING)
        return corpus
    note(f"Uploading {path} …")
    return upload(client, path, **options).id


def upload(client: Polyseme, path: Path, **options: str | None) -> Corpus:
    if path.is_dir() and not Folder.of(path, options.get("field")).taken:
        raise CommandError(
            f"{path}: the folder has no file of texts: .txt, .md, .jsonl, .json, .parquet, or .csv "
            f"and .tsv with --field; each with .gz or .zst too.",
            exit_code=REFUSED,
        )
    if not path.exists():
        raise CommandError(f"{path}: there is no such file or folder.", exit_code=MISSING)
    corpus = client.add_file(path, **options)
    counts = {
        "duplicate": corpus.duplicates_dropped,
        "empty document": corpus.empty_dropped,
        "bad line": corpus.bad_lines_skipped,
    }
    dropped = [counted(count, kind) for kind, count in counts.items() if count]
    if dropped:
        note(f"Dropped: {', '.join(dropped)}.")
    for warning in corpus.warnings:
        note(f"{path}: {warning}.")
    return corpus


def _line(corpus: Corpus) -> str:
    documents = counted(corpus.documents, "document")
    return f"{corpus.id:<28} {documents:>19} {counted(corpus.characters, 'character'):>24}"
