"""The `polyseme` command: arguments in, text out. What it does is in the modules beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from client import hooks_cli, samples
from client.accounts import keys_app, tenants_app
from client.api import Client, ClientError, JobState
from client.errors import CommandError
from client.progress import describe, job_progress
from client.show import neuron_block

app = typer.Typer(
    help="What makes a neuron fire? Runs the Polyseme service, and talks to it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
corpora_app = typer.Typer(help="The corpora of the service.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")
app.add_typer(hooks_cli.app, name="webhooks")
app.add_typer(keys_app, name="keys")
app.add_typer(tenants_app, name="tenants")

Port = Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the API.")]
Host = Annotated[str, typer.Option(help="Address of the API; beyond this machine only with API keys.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")]
Data = Annotated[Path, typer.Option(help="Folder of everything that is kept.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(envvar="POLYSEME_CATALOGUE", help="File of the models that may be analysed. [DATA/models.toml]"),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar=["POLYSEME_REDIS_URL", "REDIS_URL"], help="A Redis that runs already; else one is started."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the logs of all processes.")]
Url = Annotated[str, typer.Option(envvar="POLYSEME_URL", help="Of the service.")]
ApiKey = Annotated[str | None, typer.Option(envvar="POLYSEME_API_KEY", help="psk_…; better in the variable.")]
AsJson = Annotated[bool, typer.Option("--json", help="The service's JSON instead of a table.")]

_DATA = Path("polyseme-data")
_URL = "http://127.0.0.1:8000"


@app.command()
def up(
    port: Port = 8000,
    host: Host = "127.0.0.1",
    workers: Workers = 1,
    data: Data = _DATA,
    catalogue: Catalogue = None,
    redis_url: RedisUrl = None,
    api_key: ApiKey = None,
    sample: Annotated[bool, typer.Option("--sample", help="Register the sample model and corpus.")] = False,
    verbose: Verbose = False,
) -> None:
    """Run the whole service on this machine until Ctrl-C: Redis, the API and workers."""
    from client.stack import Options, run_stack

    options = Options(data, host, port, workers, catalogue, redis_url, verbose, api_key)

    def ready() -> None:
        if sample:
            with Client(options.url, api_key=api_key) as client:
                samples.upload_corpus(client)
        _say(f"\nReady: {options.url} (documentation at {options.url}/docs). Ctrl-C stops it.")

    def prepare() -> None:
        if catalogue is None:
            samples.prepare_catalogue(options.catalogue_path, required=sample)

    run_stack(options, os.environ, _say, prepare=prepare, on_ready=ready)


@app.command()
def demo(
    port: Port = 8000,
    host: Host = "127.0.0.1",
    workers: Workers = 1,
    data: Data = _DATA,
    catalogue: Catalogue = None,
    redis_url: RedisUrl = None,
    api_key: ApiKey = None,
    verbose: Verbose = False,
) -> None:
    """Analyse every MLP neuron of a small language model on a sample corpus, and show a few."""
    from client.demo import run_demo
    from client.stack import Options

    run_demo(Options(data, host, port, workers, catalogue, redis_url, verbose, api_key), Console())


@app.command()
def models(url: Url = _URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the models that may be analysed."""
    with Client(url, api_key=api_key) as client:
        for model in client.models():
            _say(_dump(model) if as_json else _model_line(model))


@corpora_app.command("list")
def list_corpora(url: Url = _URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the corpora."""
    with Client(url, api_key=api_key) as client:
        for corpus in client.corpora():
            _say(_dump(corpus) if as_json else f"{corpus['id']:<28} {corpus['documents']:>9,} documents")


@corpora_app.command("add")
def add_corpus(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help=".txt, .jsonl, or either as .gz")],
    name: Annotated[str | None, typer.Option(help="The corpus' id; otherwise it comes from the content.")] = None,
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """Upload a corpus: JSON lines with a "text" field, or plain text with a document a line."""
    media_type, inner = _media_type(file)
    with Client(url, api_key=api_key) as client, file.open("rb") as content:
        _say(_dump(client.add_corpus(content, media_type=media_type, name=name, format=inner)))


@app.command()
def analyse(
    model: Annotated[str, typer.Argument(help="A model's id.")],
    corpus: Annotated[str, typer.Argument(help="A corpus' id.")],
    layers: Annotated[str, typer.Option(help='"all", or ranges such as "0-3,14".')] = "all",
    neurons: Annotated[str, typer.Option(help='"all", or ranges.')] = "all",
    top_k: Annotated[int, typer.Option(help="Contexts of the largest activations.")] = 20,
    wait: Annotated[bool, typer.Option(help="Show the progress until the job ends.")] = True,
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """Post a job."""
    request = {
        "model": model,
        "corpus": {"id": corpus},
        "neurons": {"layers": layers, "indices": neurons},
        "contexts": {"top_k": top_k},
    }
    with Client(url, api_key=api_key) as client:
        job = client.submit(request)
        _say(job["id"])
        if wait:
            _watch(client, job["id"])


@app.command()
def jobs(url: Url = _URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the jobs, newest first."""
    with Client(url, api_key=api_key) as client:
        for job in client.jobs():
            _say(_dump(job) if as_json else _job_line(job))


@app.command()
def watch(job: Annotated[str, typer.Argument()], url: Url = _URL, api_key: ApiKey = None) -> None:
    """Show a job's progress until it ends."""
    with Client(url, api_key=api_key) as client:
        _watch(client, job)


@app.command()
def neuron(
    job: Annotated[str, typer.Argument()],
    layer: Annotated[int, typer.Argument(min=0)],
    neuron: Annotated[int, typer.Argument(min=0)],
    url: Url = _URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show what makes one neuron fire."""
    with Client(url, api_key=api_key) as client:
        report = client.report(job, layer, neuron)
    if as_json:
        _say(_dump(report))
    else:
        Console().print(neuron_block(report, contexts=20), highlight=False)


@app.command()
def export(
    job: Annotated[str, typer.Argument()],
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it.")],
    form: Annotated[str, typer.Option("--format", help="parquet (a zip of the files) or ndjson.")] = "parquet",
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """Download a job's whole result."""
    part = file.with_name(file.name + ".part")
    try:
        with Client(url, api_key=api_key) as client, part.open("wb") as content:
            size = client.export(job, form, content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    _say(f"{file}: {size:,} bytes")


def main() -> None:
    """Runs the command. Exit code 1 when something failed, 2 when it was asked for what it will not do."""
    try:
        app()
    except CommandError as e:
        _fail(str(e), e.exit_code)
    except ClientError as e:
        _fail(str(e), 1)


def _fail(message: str, exit_code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(exit_code)


def _watch(client: Client, job: str) -> None:
    with job_progress(Console(stderr=True)) as show:
        state = client.wait(job, show)
    if state["status"] != "succeeded":
        error = state["error"] or {}
        raise CommandError(f"{job} {state['status']}: {error.get('detail', 'no reason was given')}")
    _say(_job_line(state))


def _media_type(file: Path) -> tuple[str, str | None]:
    """The media type of an upload, and what is inside when it is gzip."""
    inner = "jsonl" if {".jsonl", ".ndjson"} & set(file.suffixes) else "text"
    if file.suffix == ".gz":
        return "application/gzip", inner
    return ("application/x-ndjson" if inner == "jsonl" else "text/plain"), None


def _model_line(model: dict[str, Any]) -> str:
    size = f"{model['layers']} layers of {model['neurons']:,}" if model.get("layers") else "not described yet"
    return f"{model['id']:<28} {model.get('error') or size}"


def _job_line(job: JobState) -> str:
    return f"{job['id']}  {job['status']:<10} {job['created_at']}  {describe(job)}"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
