"""The `polyseme` command: arguments in, text out. What it does is in the modules beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polyseme.commands import (
    analyse,
    corpora,
    doctor,
    jobs,
    models,
    neurons,
    samples,
    tidy,
    verify,
    webhooks,
)
from polyseme.commands.accounts import keys_app, tenants_app
from polyseme.commands.dictionaries.app import app as dictionaries_app
from polyseme.commands.terminal import FAILED, ApiKey, connect, describe_error, exit_code, say
from polyseme.commands.vectors.vector_sets import app as vectors_app
from polyseme.errors import CommandError
from polyseme.problems import ClientError

app = typer.Typer(
    help="What makes a neuron fire? Runs the Polyseme service, and talks to it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.add_typer(dictionaries_app, name="dictionaries")
app.add_typer(corpora.app, name="corpora")
app.add_typer(vectors_app, name="vectors")
app.add_typer(jobs.app, name="jobs")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(keys_app, name="keys")
app.add_typer(tenants_app, name="tenants")

Port = Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the API.")]
Host = Annotated[
    str, typer.Option(help="Address of the API; beyond this machine only with API keys.")
]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")]
Data = Annotated[Path, typer.Option(help="Folder of everything that is kept.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        envvar="POLYSEME_CATALOGUE",
        help="File of the models that may be analysed. [DATA/models.toml]",
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar=["POLYSEME_REDIS_URL", "REDIS_URL"],
        help="A Redis that runs already; else one is started.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the logs of all processes.")]

_DATA = Path("polyseme-data")


@app.command()
def up(
    port: Port = 8000,
    host: Host = "127.0.0.1",
    workers: Workers = 1,
    data: Data = _DATA,
    catalogue: Catalogue = None,
    redis_url: RedisUrl = None,
    api_key: ApiKey = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Register the sample model and corpus.")
    ] = False,
    sample_model: Annotated[bool, typer.Option("--sample-model", hidden=True)] = False,
    verbose: Verbose = False,
) -> None:
    """Run the whole service on this machine until Ctrl-C: Redis, the API and workers."""
    from polyseme.stack.stack import Options, run_stack

    options = Options(data, host, port, workers, catalogue, redis_url, verbose, api_key)

    def ready() -> None:
        if sample:
            with connect(options.url, api_key) as client:
                samples.upload_corpus(client)
        say(f"\nReady: {options.url} (documentation at {options.url}/docs). Ctrl-C stops it.")

    def prepare() -> None:
        if catalogue is None:
            samples.prepare_catalogue(options.catalogue_path, required=sample or sample_model)

    run_stack(options, os.environ, say, prepare=prepare, on_ready=ready)


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
    """Analyse MLP neurons of a small language model on a sample corpus, and show a few."""
    from polyseme.commands.demo import run_demo
    from polyseme.stack.stack import Options

    run_demo(Options(data, host, port, workers, catalogue, redis_url, verbose, api_key), Console())


app.command()(analyse.analyse)
app.command()(analyse.senses)
app.command()(jobs.watch)
app.command()(neurons.neurons)
app.command()(neurons.neuron)
app.command()(neurons.export)
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(tidy.tidy)


def main() -> None:
    """Runs the command. What its exit codes mean is in `polyseme.commands.terminal`."""
    try:
        app()
    except CommandError as e:
        _fail(str(e), e.exit_code)
    except ClientError as e:
        _fail(describe_error(e), exit_code(e))
    except ModuleNotFoundError as e:
        _fail(
            f"This needs {e.name}, which the client alone does not have: pip install "
            f"'polyseme[embedded]'",
            FAILED,
        )
    except BrokenPipeError:
        # Whoever read has seen enough, such as `head`. Nothing may be written any more, not even at
        # the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as e:
        _fail(f"{e.filename or 'A file'}: {e.strerror or e}", FAILED)


def _fail(message: str, exit_code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(exit_code)
