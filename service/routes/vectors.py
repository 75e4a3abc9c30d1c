"""/v1/vectors: uploading and listing directions that jobs analyse as units."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Response, request

from polyseme.contract.errors import InvalidRequest, UnsupportedMedia
from polyseme.contract.files.safetensors import MOST_HEADER_BYTES
from polyseme.contract.records.vector_set import MOST_ROWS, WIDEST, VectorSet
from polyseme.service.context import Services, services
from polyseme.service.http.answers import answer_json, answer_page
from polyseme.service.http.blueprint import LINK, LOCATION, Blueprint, problems
from polyseme.service.http.body import read_json, read_to
from polyseme.service.jobs.submit import find_card
from polyseme.service.schemas.vectors import (
    VectorListQuery,
    VectorListSchema,
    VectorsBodySchema,
    VectorsQuery,
    VectorsSchema,
)
from polyseme.service.vectors.sent import Sent, read_body, read_file
from polyseme.service.vectors.sets import (
    delete_vectors,
    find_vectors,
    read_labels,
    register_vectors,
    vectors_to_dict,
)

blueprint = Blueprint(
    "vectors",
    __name__,
    url_prefix="/v1/vectors",
    description="Directions of one's own, such as probes, that jobs analyse as units.",
)

_FILE = "application/octet-stream"
_MOST_BYTES = 8 + MOST_HEADER_BYTES + 8 * MOST_ROWS * (WIDEST + 1)  # in float64
_BODY = {
    "required": True,
    "description": "JSON, or a safetensors file with the tensor `vectors` (count, width) and, if "
    "any, `bias` (count,), of F32, F64, F16 or BF16; its metadata, or the query, says `model`, "
    "`site` and `layer`, and may say `name` and, as JSON, `labels`.",
    "content": {
        "application/json": {
            "schema": VectorsBodySchema,
            "example": {
                "name": "tenses",
                "model": "smollm2-135m-instruct",
                "site": "resid_post",
                "layer": 9,
                "vectors": [[0.5, -1.25], [0.0, 1.0]],
                "labels": ["past", "future"],
            },
        },
        _FILE: {"schema": {"type": "string", "format": "binary"}},
    },
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(VectorsQuery, location="query")
@blueprint.doc(operationId="addVectors", requestBody=_BODY)
@blueprint.response(201, VectorsSchema, description="Registered.", headers={"Location": LOCATION})
@blueprint.alt_response(
    200,
    schema=VectorsSchema,
    description="It was registered before.",
    headers={"Location": LOCATION},
    success=True,
)
@problems(
    {
        400: "broken JSON, or no safetensors file",
        413: "too many bytes",
        415: "a Content-Type or a Content-Encoding that is not taken",
        422: "no such model, site or layer, vectors of another width than the site's, a number "
        "that is not finite, or a vector that is zero",
        429: "the tenant may store no more, or send no more requests in this minute",
        507: "the store has no room left",
    }
)
def add(query: Mapping[str, Any]) -> Response:
    """Add directions

    Each is a unit that fires with its product with what stands at the site, and its bias.
    """
    here = services()
    if request.mimetype == "application/json":
        vectors, is_new = _add_json(here, query)
    else:
        vectors, is_new = _add_file(here, query)
    headers = {"Location": f"{here.base}/v1/vectors/{vectors.id}"}
    return answer_json(_show(here, vectors), 201 if is_new else 200, headers)


@blueprint.route("", methods=["GET"])
@blueprint.arguments(VectorListQuery, location="query")
@blueprint.doc(operationId="listVectors")
@blueprint.response(200, VectorListSchema, headers={"Link": LINK})
@problems(
    {
        400: "a cursor that is not of this list",
        410: "an expired cursor",
        422: "a parameter is not allowed",
    }
)
def list_vectors(query: Mapping[str, Any]) -> Response:
    """List sets of directions, newest first"""
    here = services()
    found = here.board.registry.list_vectors(here.tenant)
    page, cursor = here.cursors.cut("vectors", found, query, here.tenant)
    return answer_page([vectors_to_dict(v) for v in page], cursor)


@blueprint.route("/<vectors:vectors_id>", methods=["GET"])
@blueprint.doc(operationId="getVectors")
@blueprint.response(200, VectorsSchema)
@problems({404: "no such set", 410: "its file is gone"})
def get_vectors(vectors_id: str) -> Response:
    """Read a set's sizes and labels"""
    here = services()
    return answer_json(_show(here, find_vectors(here, vectors_id)))


@blueprint.route("/<vectors:vectors_id>", methods=["DELETE"])
@blueprint.doc(operationId="deleteVectors")
@blueprint.response(204, description="The set is gone; results made from it stay.")
@problems({404: "no such set", 409: "a job that has not ended reads it"})
def delete(vectors_id: str) -> Response:
    """Delete a set of directions"""
    delete_vectors(services(), vectors_id)
    return Response(status=204)


def _show(here: Services, vectors: VectorSet) -> dict[str, Any]:
    return vectors_to_dict(vectors, read_labels(here, vectors))


def _add_json(here: Services, query: Mapping[str, Any]) -> tuple[VectorSet, bool]:
    if query:
        name = next(iter(query))
        raise InvalidRequest(f"{name} stands in the JSON, not in the query", pointer=f"/{name}")
    return _register(here, read_body(read_json(request, here.settings.inline_bytes)))


def _add_file(here: Services, query: Mapping[str, Any]) -> tuple[VectorSet, bool]:
    if request.mimetype != _FILE:
        raise UnsupportedMedia(
            f"Content-Type {request.content_type!r}: send application/json or {_FILE}"
        )
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Content-Encoding of vectors: none is taken")
    folder = Path(here.settings.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        size = read_to(request, file, min(here.settings.upload_bytes, _MOST_BYTES))
        return _register(here, read_file(file, size, query))


def _register(here: Services, sent: Sent) -> tuple[VectorSet, bool]:
    return register_vectors(here, sent, find_card(here, sent.model))
