"""The Python client for asyncio: `polyseme.client` with `await` and `async for`.

import asyncio

from polyseme import AsyncPolyseme


async def strongest(job):
    async with AsyncPolyseme() as polyseme:
        return await polyseme.neurons(job, sort="-max").first(3)


print(asyncio.run(strongest("job_…")))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from polyseme.client import PATIENCE_S, service_key, service_url
from polyseme.drivers import AsyncDriver
from polyseme.operations import id_of
from polyseme.reading import read
from polyseme.records import (
    Activations,
    Batch,
    Corpus,
    Dictionary,
    Estimate,
    Job,
    JobOfBatch,
    Model,
    VectorSet,
)
from polyseme.reports import ControlRow, NeuronRow, Report
from polyseme.rows import AsyncRows
from polyseme.steps import Json, Query
from polyseme.tables import read_arrow, read_pandas, read_polars
from polyseme.uploads import pack_vectors, read_file

if TYPE_CHECKING:
    from pandas import DataFrame as PandasFrame
    from polars import DataFrame as PolarsFrame
    from pyarrow import Table


class AsyncPolyseme:
    """Talks to a Polyseme service from asyncio: the methods of Polyseme, to be awaited.

    Raises a Problem for what is refused, and Unreachable when no answer comes within the patience.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """url: else POLYSEME_URL, else this machine's port 8000. api_key: else POLYSEME_API_KEY.

        patience_s: for how long a service may be away or busy before a call fails. 0: not at all.
        """
        self._driver = AsyncDriver(service_url(url), service_key(api_key), timeout_s, patience_s)
        self._calls = self._driver.operations

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._driver.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._driver.url

    # Jobs

    async def submit(
        self, request: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Posts a job.

        A repetition after a lost answer finds the same job, by a key made here when none is given.
        """
        return await self._driver.run(self._calls.submit(request, idempotency_key))

    async def plan(self, request: Mapping[str, Any]) -> Estimate:
        """What a job would take, without running it."""
        return await self._driver.run(self._calls.plan(request))

    async def job(self, job: str) -> Job:
        """A job as it is now."""
        return await self._driver.run(self._calls.job(job))

    def jobs(self, **filters: Query) -> AsyncRows[Job]:
        """The jobs, newest first. Filters: status, model, corpus, batch, metadata ("name=x")."""
        return AsyncRows(self._driver, "/v1/jobs", filters, Job)

    async def cancel(self, job: str) -> Job:
        """Ends a job; one that has ended stays as it is."""
        return await self._driver.run(self._calls.cancel(job))

    async def delete(self, job: str) -> None:
        """Deletes an ended job and its result."""
        await self._driver.run(self._calls.delete(job))

    async def wait(
        self,
        job: str | Job,
        on_change: Callable[[Job], object] | None = None,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Job:
        """Follows a job until it has ended, and tells of each change.

        patience_s: for how long an absence of the service is put up with once it has answered;
        None: as elsewhere. Raises StillRunning after `timeout_s`.
        """
        return await self._driver.run(self._calls.wait(job, on_change, timeout_s, patience_s))

    async def events(
        self, job: str | Job, *, patience_s: float | None = None
    ) -> AsyncIterator[Job]:
        """A job's states as they change, the one it is in first; the last has ended.

        patience_s: as of `wait`.
        """
        async with aclosing(self._driver.states(id_of(job), patience_s)) as states:
            async for state in states:
                yield read(Job, state)

    async def regroup(
        self,
        job: str,
        *,
        same_at: float | None = None,
        idempotency_key: str | None = None,
        **changes: Any,
    ) -> Job:
        """Makes the senses of a finished job anew: a new job, that needs no model.

        same_at: how sure one must be that two groups mean the same before they are one sense.
        changes: min_contexts, vectors, …
        """
        return await self._driver.run(self._calls.regroup(job, same_at, idempotency_key, changes))

    # Batches

    async def submit_batch(
        self,
        requests: Sequence[Mapping[str, Any]],
        *,
        atomic: bool = True,
        metadata: Mapping[str, str] | None = None,
        webhook: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Posts many jobs in one call: all or none of them, or with `atomic` false those that are
        not refused.

        webhook: a URL that is told once, when the last job has ended.
        """
        return await self._driver.run(
            self._calls.submit_batch(requests, atomic, metadata, webhook, idempotency_key)
        )

    async def batch(self, batch: str) -> Batch:
        """A batch as it is now."""
        return await self._driver.run(self._calls.batch(batch))

    def batches(self) -> AsyncRows[Batch]:
        """The batches, newest first, without their entries."""
        return AsyncRows(self._driver, "/v1/batches", {}, Batch)

    def batch_summaries(self, batch: str) -> AsyncRows[JobOfBatch]:
        """What the jobs of a batch have found, in the order of the requests."""
        path = f"/v1/batches/{batch}/summaries"
        return AsyncRows(self._driver, path, {}, JobOfBatch)

    async def wait_batch(
        self,
        batch: str | Batch,
        on_change: Callable[[Batch], object] | None = None,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Batch:
        """Follows a batch until every job of it has ended. As `wait`."""
        return await self._driver.run(
            self._calls.wait_batch(batch, on_change, timeout_s, patience_s)
        )

    async def cancel_batch(self, batch: str) -> Batch:
        """Ends every job of a batch that has not ended."""
        return await self._driver.run(self._calls.cancel_batch(batch))

    async def delete_batch(self, batch: str, *, with_jobs: bool = False) -> None:
        """Deletes an ended batch. Its jobs and their results stay, unless `with_jobs`."""
        await self._driver.run(self._calls.delete_batch(batch, with_jobs))

    # Results

    async def summary(self, job: str, *, beside: str | None = None) -> Json:
        """Counts by layer and status, and distributions.

        beside: another job over the same text, for a comparison of the two results instead. Raises
        Conflict where they have not read the same text.
        """
        return await self._driver.run(self._calls.summary(job, beside))

    async def manifest(self, job: str) -> Json:
        """What was run, on what, with what."""
        return await self._driver.run(self._calls.manifest(job))

    def neurons(self, job: str, **query: Query) -> AsyncRows[NeuronRow]:
        """The neurons of a job, a row of scalars each.

        Query: layer, neuron, status, token, meaning, sort, fields, min_… and max_…; `limit` is a
        page's. A list, as of fields, stands for its parts with commas between.
        """
        return AsyncRows(self._driver, f"/v1/jobs/{job}/neurons", query, NeuronRow)

    def controls(self, job: str, **query: Query) -> AsyncRows[ControlRow]:
        """The control units of a job, a row of scalars each: random directions of its layers.

        Query: layer, status, sort, fields, min_… and max_…; `limit` is a page's.
        """
        return AsyncRows(self._driver, f"/v1/jobs/{job}/controls", query, ControlRow)

    async def neuron(self, job: str, layer: int, neuron: int) -> Report:
        """All that is known of one neuron."""
        return await self._driver.run(self._calls.neuron(job, layer, neuron))

    async def tree(self, job: str, layer: int, neuron: int, *, tail: str = "positive") -> Json:
        """How a neuron's contexts were grouped, and what another `same_at` would give."""
        return await self._driver.run(self._calls.tree(job, layer, neuron, tail))

    async def activations(
        self, job: str, text: str, neurons: Sequence[tuple[int, int]], *, top: int | None = None
    ) -> Activations:
        """Runs a text of your own through a finished job's model, and waits for the answer.

        neurons: (layer, neuron)
        """
        return await self._driver.run(self._calls.activations(job, text, neurons, top))

    async def export(self, job: str, form: str, file: IO[bytes], **query: Query) -> int:
        """Writes the whole result to a file as it arrives. Returns its bytes. Query: layer, file.

        form: parquet, ndjson, or what else the service exports.
        """
        return await self._driver.run(self._calls.export(job, form, file, query))

    async def arrow(self, job: str) -> Table:
        """The table of all neurons, one row of scalars each. Needs the extra `arrow`."""
        return read_arrow(await self._driver.run(self._calls.table_bytes(job)))

    async def pandas(self, job: str) -> PandasFrame:
        """The table of all neurons, one row of scalars each. Needs the extra `pandas`."""
        return read_pandas(await self._driver.run(self._calls.table_bytes(job)))

    async def polars(self, job: str) -> PolarsFrame:
        """The table of all neurons, one row of scalars each. Needs the extra `polars`."""
        return read_polars(await self._driver.run(self._calls.table_bytes(job)))

    # Corpora, models, the service

    async def add_corpus(
        self,
        content: Iterable[bytes] | Callable[[], Iterable[bytes]],
        *,
        media_type: str = "application/x-ndjson",
        **query: Query,
    ) -> Corpus:
        """Uploads a corpus as a stream. Query: name (its id), field, language_field, sample_by,
        format, filename, on_bad_line; media_type="application/octet-stream" leaves the format to
        what is inside.

        content: a function that begins it anew lets a failed upload be repeated, which is harmless.
        """
        return await self._driver.run(self._calls.add_corpus(content, media_type, query))

    async def add_texts(
        self,
        texts: Sequence[str],
        *,
        name: str | None = None,
        languages: Sequence[str | None] | None = None,
    ) -> Corpus:
        """Adds documents as a corpus. languages: of each, such as "de"; None for none."""
        return await self._driver.run(self._calls.add_texts(texts, name, languages))

    async def add_file(
        self, path: str | Path, *, name: str | None = None, **query: Query
    ) -> Corpus:
        """Uploads a file: plain text, JSON lines, a JSON array, CSV, TSV or Parquet, packed with
        gzip or zstd or not. What is inside decides. Or a folder of such files, whose other files
        are left out with a warning.

        query: field, that has the text: "text", and needed for CSV and TSV; language_field, that
        names a document's language, such as "de"; sample_by, what a document is in plain text:
        line (in a folder: document), paragraph or document; format, to be refused if it is another;
        on_bad_line="skip" to count what is no document instead of refusing it. Raises
        Unreadable for a file of a folder.
        """
        return await self._driver.run(self._calls.add_file(path, name, query))

    async def corpus(self, corpus: str) -> Corpus:
        """A corpus' sizes."""
        return await self._driver.run(self._calls.corpus(corpus))

    def corpora(self) -> AsyncRows[Corpus]:
        """The corpora, newest first."""
        return AsyncRows(self._driver, "/v1/corpora", {}, Corpus)

    async def delete_corpus(self, corpus: str) -> None:
        """Deletes a corpus; results made from it stay."""
        await self._driver.run(self._calls.delete_corpus(corpus))

    async def add_vectors(
        self,
        vectors: Any,
        *,
        model: str,
        site: str,
        layer: int,
        bias: Any = None,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        normalize: bool = False,
    ) -> VectorSet:
        """Adds directions, whose id goes into a request as `neurons.vectors`.

        vectors: rows of numbers, each as wide as the site: lists, an array or a tensor; bias: a
        number for each; labels: what each is called; normalize: divides each, and its bias, by its
        length. Raises ValueError where rows are not of one length.
        """
        content = pack_vectors(
            vectors, bias, labels, model=model, site=site, layer=layer, name=name
        )
        query = {"normalize": True if normalize else None}
        return await self._driver.run(self._calls.add_vectors(lambda: [content], query))

    async def add_vectors_file(self, path: str | Path, **query: Query) -> VectorSet:
        """Uploads a safetensors file with a tensor `vectors` and, if any, `bias`.

        query: model, site, layer and name, where its metadata does not say them; normalize.
        """
        file = Path(path)
        return await self._driver.run(self._calls.add_vectors(lambda: read_file(file), query))

    async def vectors(self, vectors: str) -> VectorSet:
        """A set of directions: where it is of, its sizes, and its labels."""
        return await self._driver.run(self._calls.vectors(vectors))

    def vector_sets(self) -> AsyncRows[VectorSet]:
        """The sets of directions, newest first."""
        return AsyncRows(self._driver, "/v1/vectors", {}, VectorSet)

    async def delete_vectors(self, vectors: str) -> None:
        """Deletes a set of directions; results made from it stay."""
        await self._driver.run(self._calls.delete_vectors(vectors))

    async def model(self, model: str) -> Model:
        """What is known of a model."""
        return await self._driver.run(self._calls.model(model))

    def models(self) -> AsyncRows[Model]:
        """The models that may be analysed."""
        return AsyncRows(self._driver, "/v1/models", {}, Model)

    async def dictionary(self, dictionary: str) -> Dictionary:
        """What is known of a sparse dictionary."""
        return await self._driver.run(self._calls.dictionary(dictionary))

    def dictionaries(self, model: str | None = None) -> AsyncRows[Dictionary]:
        """The sparse dictionaries whose latents may be analysed; of one model, or of all."""
        query = {} if model is None else {"model": model}
        return AsyncRows(self._driver, "/v1/dictionaries", query, Dictionary)

    async def readiness(self) -> Json:
        """{"status", "workers"}: how many workers the board has heard of lately."""
        return await self._driver.run(self._calls.readiness())
