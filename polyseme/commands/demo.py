"""The demo: a real model's neurons, analysed through the real service, from nothing to contexts on
the screen.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console

from polyseme.client import Polyseme
from polyseme.commands import samples
from polyseme.commands.progress import job_progress
from polyseme.commands.show import count_statuses, neuron_block
from polyseme.commands.terminal import connect, reason
from polyseme.errors import CommandError
from polyseme.problems import ClientError, Unreachable
from polyseme.records import Job, Model
from polyseme.reports import Report
from polyseme.stack.child import SAFE_PYTHON, tethered
from polyseme.stack.stack import Options

_PROBE_S = 3.0  # for an answer from what may be no service of ours
_STACK_S = 720.0  # from the start of the stack to a described model
LAYERS = "8,12,16,20"  # of the model's 30, so that there is time for more text
_REQUEST = {
    "model": samples.MODEL_ID,
    "corpus": {"id": samples.CORPUS_ID},
    "neurons": {"layers": LAYERS},
}
# What is shown of the result: the clearest of so many that these lists begin with, and how many.
_CANDIDATES = 100
_SHOWN: tuple[tuple[int, dict[str, str | float]], ...] = (
    (2, {"status": "polysemantic", "min_coverage": 0.8, "sort": "-selectivity"}),
    (1, {"status": "monosemantic", "min_coverage": 0.8, "sort": "-selectivity"}),
)


def run_demo(options: Options, console: Console) -> None:
    """Uses the stack that runs at the address, or starts one and stops it at the end.

    Raises CommandError.
    """
    # What is missing is to be found out before anything is started.
    samples.find_model()
    samples.corpus_texts()
    with (
        connect(options.url, options.api_key) as client,
        _running_stack(client, options, console) as is_up,
    ):
        try:
            model = _await_model(options, is_up)
            _say(
                console,
                f"Model {model.id}: {model.layers} layers of {model.neurons:,} MLP neurons.",
            )
            corpus = samples.upload_corpus(client)
            _say(
                console,
                f"Corpus {corpus.id}: {corpus.documents} documents, "
                f"{corpus.characters:,} characters.",
            )
            job = _analyse(client, console)
            _show_result(client, console, job)
        except Unreachable as e:
            raise CommandError(f"The service stopped answering. {e}") from e
        except ClientError as e:
            raise CommandError(str(e)) from e


@contextmanager
def _running_stack(
    client: Polyseme, options: Options, console: Console
) -> Iterator[Callable[[], bool]]:
    """Gives a question: does the stack that was started here still run?"""
    if _answers(options):
        _say(console, f"Using the service that runs at {client.url}.")
        yield lambda: True
        return
    _say(console, "Starting Redis, the API and a worker …")
    with subprocess.Popen(tethered(_up_command(options)), start_new_session=True) as process:
        try:
            yield lambda: process.poll() is None
        except CommandError as e:
            # The stack's own process has said why it ended.
            raise CommandError(str(e), exit_code=process.poll() or e.exit_code) from e
        finally:
            process.terminate()
            process.wait()


def _up_command(options: Options) -> list[str]:
    # The corpus is registered by the demo itself, which does so with a service that runs already,
    # too.
    command = [*SAFE_PYTHON, "-m", "polyseme", "up", "--sample-model", "--data", str(options.data)]
    command += ["--host", options.host]
    command += ["--port", str(options.port), "--workers", str(options.workers)]
    if options.redis_url:
        command += ["--redis-url", options.redis_url]
    if options.catalogue:
        command += ["--catalogue", str(options.catalogue)]
    return [*command, "--verbose"] if options.verbose else command


def _answers(options: Options) -> bool:
    """Whether a service of ours is there.

    Anything else that has the port is for `up` to complain about.
    """
    try:
        with connect(options.url, options.api_key, timeout_s=_PROBE_S) as client:
            client.models().first(1)
    except (ClientError, ValueError, KeyError, TypeError):
        return False
    return True


def _await_model(options: Options, is_up: Callable[[], bool]) -> Model:
    """Waits for the API, then for a worker to have described the sample model."""
    deadline = time.monotonic() + _STACK_S
    with connect(options.url, options.api_key, timeout_s=_PROBE_S) as client:
        while time.monotonic() < deadline:
            if not is_up():
                raise CommandError("The stack ended before the demo began; it says why above.")
            if model := _described_model(client):
                return model
            time.sleep(0.25)
    raise CommandError(f"No worker described the model {samples.MODEL_ID} within {_STACK_S:.0f} s.")


def _described_model(client: Polyseme) -> Model | None:
    """The sample model, once a worker is there that has looked at it.

    Raises CommandError when it cannot be used.
    """
    try:
        workers = client.readiness()["workers"]
        model = next((m for m in client.models() if m.id == samples.MODEL_ID), None)
    except Unreachable:
        return None
    if model is None:
        raise CommandError(
            f"The service at {client.url} does not list {samples.MODEL_ID}. Run the demo on "
            f"another port, or add the "
            "model to that service's catalogue."
        )
    if not workers or model.state == "undescribed":
        return None
    if model.state != "ready":
        raise CommandError(f"{samples.MODEL_ID} cannot be analysed: {model.error}")
    return model


def _analyse(client: Polyseme, console: Console) -> Job:
    job = client.submit(_REQUEST)
    _say(console, f"Job {job.id}: the MLP neurons of layers {LAYERS}, on the whole corpus.")
    try:
        with job_progress(console) as show:
            job = client.wait(job.id, show)
    except KeyboardInterrupt:
        client.cancel(job.id)
        raise
    if not job.succeeded:
        raise CommandError(f"The job {job.status}: {reason(job)}")
    return job


def _show_result(client: Polyseme, console: Console, job: Job) -> None:
    summary = client.summary(job.id)
    done = (
        f"{summary['neurons']:,} neurons on {summary['tokens']:,} tokens in "
        f"{_duration_s(job):.1f} s"
    )
    _say(console, f"{done} from submission to result.")
    _say(console, f"{count_statuses(summary)}. Two polysemantic ones, and a monosemantic one:\n")
    neuron = "0/0"
    for report in _choose_neurons(client, job.id):
        console.print(neuron_block(report), highlight=False)
        neuron = f"{report.layer}/{report.neuron}"
    _say(console, next_steps(client.url, job.id, neuron))


def _duration_s(job: Job) -> float:
    end = datetime.fromisoformat(job.finished_at or job.created_at)
    return (end - datetime.fromisoformat(job.created_at)).total_seconds()


def _choose_neurons(client: Polyseme, job: str) -> Iterator[Report]:
    """Selective ones whose senses hold most of the firing; first those whose senses are surely
    unrelated.
    """
    for count, filters in _SHOWN:
        rows = client.neurons(job, **filters).first(_CANDIDATES)
        for row in sorted(rows, key=lambda row: not row.unrelated)[:count]:
            assert row.layer is not None
            assert row.neuron is not None
            yield client.neuron(job, row.layer, row.neuron)


def next_steps(url: str, job: str, neuron: str) -> str:
    return f"""Go on with `polyseme up` (or `make up`), then:
  curl '{url}/v1/jobs/{job}/summary'
  curl '{url}/v1/jobs/{job}/neurons?status=polysemantic&sort=-selectivity&limit=5'
  curl '{url}/v1/jobs/{job}/neurons/{neuron}'
  curl -o result.zip '{url}/v1/jobs/{job}/export?format=parquet'
  polyseme analyse {samples.MODEL_ID} {samples.CORPUS_ID}    # every layer
and read {url}/docs."""


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
