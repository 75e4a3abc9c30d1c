"""/v1/jobs/{id}/…: the result of a job."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response, request

from polyseme.contract.errors import InvalidRequest, NotFound
from polyseme.contract.files.results import (
    GHOSTS,
    MANIFEST,
    NEURONS,
    SUMMARY,
    TOKENS,
    report_file,
)
from polyseme.contract.files.vector_sets import open_if_there
from polyseme.contract.records.job import Job
from polyseme.service.context import Services, services
from polyseme.service.http.answers import answer_json, answer_page, answer_tagged
from polyseme.service.http.blueprint import LINK, Blueprint, header, problems, takes
from polyseme.service.http.cursors import LIFETIME_S
from polyseme.service.http.headers import result_tag
from polyseme.service.jobs.find_and_end import find_result
from polyseme.service.json_text import dump_json, put_in
from polyseme.service.results.comparison import compare_results
from polyseme.service.results.exports import (
    gzipped,
    stream_control_lines,
    stream_lines,
    stream_zip,
)
from polyseme.service.results.neuronpedia.bundle import stream_bundle
from polyseme.service.results.neuronpedia.origin import read_origin
from polyseme.service.results.queries import (
    CONTROL_COLUMNS,
    RowQuery,
    plan_query,
    read_ranges,
    run_query,
)
from polyseme.service.results.reports import build_report, build_tree, find_medians
from polyseme.service.results.result import Results, WrittenPage
from polyseme.service.results.scalars import Scalars
from polyseme.service.schemas.neurons import (
    ControlListSchema,
    NeuronListSchema,
    NeuronSchema,
    TreeSchema,
)
from polyseme.service.schemas.query_parameters import (
    ControlsQuery,
    ExportQuery,
    NeuronsQuery,
    SummaryQuery,
    TreeQuery,
)

blueprint = Blueprint(
    "results", __name__, url_prefix="/v1/jobs", description="What a job that succeeded has found."
)

_MISSING = {
    404: "no such job",
    409: "the job has not succeeded, or its result is damaged",
    410: "the result is no longer there, or the job has expired",
}
_PARQUET = "application/vnd.apache.parquet"
_BINARY = {"type": "string", "format": "binary"}


@blueprint.route("/<job:job_id>/summary", methods=["GET"])
@blueprint.arguments(SummaryQuery, location="query")
@blueprint.doc(operationId="getSummary")
@blueprint.response(
    200,
    {"type": "object"},
    description="Counts by layer and status, and distributions; with `beside` a comparison.",
)
@problems(
    _MISSING
    | {
        409: "a job has not succeeded, or its result is damaged; or the two have not read the same "
        "text (`other_text`)",
        422: "`beside` is no job id, or the job itself",
    }
)
def summary(query: Mapping[str, Any], job_id: str) -> Response:
    """Read a result's summary, or set another result over the same text beside it"""
    if "beside" in query:
        return _answer_comparison(services(), job_id, query["beside"])
    return _stored(job_id, SUMMARY)


@blueprint.route("/<job:job_id>/manifest", methods=["GET"])
@blueprint.doc(operationId="getManifest")
@blueprint.response(200, {"type": "object"}, description="What was run, on what, with what.")
@problems(_MISSING)
def manifest(job_id: str) -> Response:
    """Read how a result was made"""
    return _stored(job_id, MANIFEST)


_LIST_PROBLEMS = _MISSING | {
    400: "a cursor that is not of this list",
    410: "an expired cursor, or a result that is no longer there",
    422: "a parameter is not allowed",
}


_TAG = {"description": "Of a result, which does not change.", "schema": {"type": "string"}}
_NONE_MATCH = header("If-None-Match", "The ETag at hand: 304 while it still holds.")


@blueprint.route("/<job:job_id>/neurons", methods=["GET"])
@blueprint.arguments(NeuronsQuery, location="query")
@takes(_NONE_MATCH)
@blueprint.doc(operationId="listNeurons")
@blueprint.response(200, NeuronListSchema, headers={"Link": LINK, "ETag": _TAG})
@blueprint.alt_response(304, description="As it was.", headers={"ETag": _TAG})
@problems(_LIST_PROBLEMS)
def list_neurons(query: Mapping[str, Any], job_id: str) -> Response:
    """List, filter and sort neurons"""
    here, plan = services(), plan_query(query)
    find_result(here, job_id)
    # The cursor in it is good for a day, so the page is for half of one.
    tag = result_tag(job_id, str(int(time.time() // (LIFETIME_S / 2))))
    return answer_tagged(
        tag, request.headers, lambda: _answer_list("neurons", here, job_id, plan, query)
    )


@blueprint.route("/<job:job_id>/controls", methods=["GET"])
@blueprint.arguments(ControlsQuery, location="query")
@blueprint.doc(operationId="listControls")
@blueprint.response(200, ControlListSchema, headers={"Link": LINK})
@problems(_LIST_PROBLEMS)
def list_controls(query: Mapping[str, Any], job_id: str) -> Response:
    """List, filter and sort control units

    Random directions that were scanned like the neurons of their layer. A result may have none.
    """
    here, plan = services(), plan_query(query, CONTROL_COLUMNS)
    find_result(here, job_id)
    return _answer_list("controls", here, job_id, plan, query)


@blueprint.route("/<job:job_id>/neurons/<index:layer>/<index:neuron>", methods=["GET"])
@takes(_NONE_MATCH)
@blueprint.doc(operationId="getNeuron")
@blueprint.response(200, NeuronSchema, headers={"ETag": _TAG})
@blueprint.alt_response(304, description="As it was.", headers={"ETag": _TAG})
@problems(_MISSING | {404: "no such job, or the neuron is not among its neurons"})
def get_neuron(job_id: str, layer: int, neuron: int) -> Response:
    """Read the whole report of one neuron"""
    here = services()
    job = find_result(here, job_id)
    row = here.results.report(job_id, layer, neuron)

    def answer() -> Response:
        vocabulary, model = here.results.vocabulary(job_id), job.request.model
        report = build_report(row, job_id, model, vocabulary, here.base, **_units_of(here, job))
        return answer_json(report)

    return answer_tagged(result_tag(job_id), request.headers, answer)


@blueprint.route("/<job:job_id>/neurons/<index:layer>/<index:neuron>/tree", methods=["GET"])
@blueprint.arguments(TreeQuery, location="query")
@blueprint.doc(operationId="getTree")
@blueprint.response(200, TreeSchema)
@problems(_MISSING | {404: "no such job, or the neuron is not among its neurons"})
def get_tree(query: Mapping[str, Any], job_id: str, layer: int, neuron: int) -> Response:
    """Read how a neuron's contexts were grouped, and what another `same_at` would give"""
    here = services()
    job = find_result(here, job_id)
    row = here.results.report(job_id, layer, neuron)
    least = job.analysis.senses.min_contexts
    summary = json.loads(here.results.read(job_id, SUMMARY))
    medians = find_medians(summary, layer)
    return answer_json(build_tree(row, job_id, query["tail"], least, medians))


@blueprint.route("/<job:job_id>/export", methods=["GET"])
@blueprint.arguments(ExportQuery, location="query")
@blueprint.doc(operationId="exportResult")
@blueprint.response(
    200,
    _BINARY,
    content_type="application/zip",
    description="All files; with `file` one of them; or the bundle.",
)
@blueprint.alt_response(200, schema=_BINARY, content_type=_PARQUET, success=True)
@blueprint.alt_response(200, schema=_BINARY, content_type="application/x-ndjson", success=True)
@problems(_MISSING | {422: "a parameter is not allowed"})
def export(query: Mapping[str, Any], job_id: str) -> Response:
    """Export a result as Parquet, as one report a line, or as Neuronpedia imports it

    Lines are gzipped when `Accept-Encoding` has gzip.
    """
    here = services()
    ends = read_ranges(query["layer"], "layer") if "layer" in query else None
    _check_options(query)
    job = find_result(here, job_id)
    layers = _select_layers(here, job_id, ends)
    if query["format"] == "neuronpedia":
        return _answer_bundle(here, job, layers, query)
    if query["format"] == "ndjson":
        return _answer_lines(here, job, layers, of_controls="file" in query)
    if "file" in query:
        return _answer_file(here, job_id, query["file"], layers)
    chunks = stream_zip(here.results, job_id, layers, job.finished_at or job.created_at)
    return _attachment(chunks, "application/zip", f"{job_id}.zip")


def _answer_comparison(here: Services, job_id: str, beside: str) -> Response:
    if beside == job_id:
        raise InvalidRequest(f"beside={beside} is the job itself: name another", pointer="/beside")
    for job in (job_id, beside):
        find_result(here, job)
    return answer_json(compare_results(here.results, (job_id, beside)))


def _answer_list(
    kind: str, here: Services, job: str, plan: RowQuery, query: Mapping[str, Any]
) -> Response:
    """kind: neurons or controls; plan: of the query."""
    asked = {
        name: value for name, value in query.items() if name not in ("cursor", "limit", "fields_")
    }
    of = job if kind == "neurons" else f"{kind} of {job}"  # what a cursor is of
    offset = here.cursors.open(query["cursor"], of, asked, here.tenant) if "cursor" in query else 0
    page = _find_page(kind, here.results, job, plan, query, offset)
    cursor = (
        None
        if page.next_offset is None
        else here.cursors.seal(of, asked, page.next_offset, here.tenant)
    )
    return answer_page(put_in(page.rows), cursor, total=page.total)


def _find_page(
    kind: str, results: Results, job: str, plan: RowQuery, query: Mapping[str, Any], offset: int
) -> WrittenPage:
    def read() -> Scalars:
        return results.scalars(job) if kind == "neurons" else results.controls(job)

    def write() -> WrittenPage:
        vocabulary = results.vocabulary(job) if plan.token is not None else None
        page = run_query(plan, read(), vocabulary, offset, query["limit"])
        return WrittenPage(dump_json(page.rows), page.total, page.next_offset)

    asked = sorted((name, value) for name, value in query.items() if name != "cursor")
    return results.page(job, (kind, offset, *asked), write)


def _check_options(query: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for an option of another format."""
    for name in ("model_id", "creator_id"):
        if name in query and query["format"] != "neuronpedia":
            raise InvalidRequest(f"{name} goes with format=neuronpedia", pointer=f"/{name}")
    chosen = query["format"], query.get("file")
    if chosen[1] is not None and chosen[0] != "parquet" and chosen != ("ndjson", "ghosts"):
        raise InvalidRequest("file goes with format=parquet", pointer="/file")


def _stored(job_id: str, name: str) -> Response:
    here = services()
    find_result(here, job_id)
    return Response(here.results.read(job_id, name), content_type="application/json")


def _select_layers(here: Services, job_id: str, ends: tuple[int, ...] | None) -> list[int]:
    layers = here.results.layers(job_id)
    if ends is None:
        return layers
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    chosen = [layer for layer in layers if any(first <= layer <= last for first, last in pairs)]
    if not chosen:
        raise InvalidRequest(
            f"none of these layers is in the result: it has {layers[0]} to {layers[-1]}",
            pointer="/layer",
        )
    return chosen


def _units_of(here: Services, job: Job) -> dict[str, Any]:
    """What reports say of where a job's units are, as `build_report` takes it."""
    site, dictionaries = job.analysis.neurons.site, here.results.dictionaries(job)
    return {"site": site, "dictionaries": dictionaries}


def _answer_lines(here: Services, job: Job, layers: list[int], *, of_controls: bool) -> Response:
    if of_controls:
        lines, name = (
            stream_control_lines(here.results, job.id, layers),
            f"{job.id}-controls.ndjson",
        )
    else:
        of = _units_of(here, job)
        lines = stream_lines(here.results, job.id, job.request.model, layers, here.base, **of)
        name = f"{job.id}.ndjson"
    packed = request.accept_encodings.quality("gzip") > 0
    answer = _attachment(gzipped(lines) if packed else lines, "application/x-ndjson", name)
    answer.headers["Vary"] = "Accept-Encoding"
    if packed:
        answer.headers["Content-Encoding"] = "gzip"
    return answer


def _answer_bundle(
    here: Services, job: Job, layers: list[int], query: Mapping[str, Any]
) -> Response:
    asked = job.analysis.neurons
    cards = here.board.registry.list_dictionaries() if asked.dictionary else []
    vectors = asked.vectors and here.board.registry.get_vectors(asked.vectors, here.tenant)
    origin = read_origin(
        here.results,
        job,
        query.get("model_id"),
        query.get("creator_id"),
        {card.id: card for card in cards},
        vectors or None,
    )
    directions = open_if_there(here.store, vectors or None, here.tenant)
    chunks = stream_bundle(here.results, origin, layers, directions)
    return _attachment(chunks, "application/zip", f"{job.id}-neuronpedia.zip")


def _answer_file(here: Services, job_id: str, name: str, layers: list[int]) -> Response:
    if name == "reports" and len(layers) != 1:
        raise InvalidRequest("file=reports is one layer's file: name one layer", pointer="/layer")
    if name == "ghosts" and not here.results.has_controls(job_id):
        raise NotFound(f"{job_id} has no control units")
    stored = {
        "neurons": NEURONS,
        "ghosts": GHOSTS,
        "tokens": TOKENS,
        "reports": report_file(layers[0]),
    }[name]
    here.results.local_file(job_id, stored)  # raises before the answer has begun
    return _attachment(here.results.stream(job_id, stored), _PARQUET, stored.rpartition("/")[2])


def _attachment(chunks: Iterator[bytes], content_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(chunks, content_type=content_type, headers=headers)
