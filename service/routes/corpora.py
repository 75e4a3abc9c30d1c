"""/v1/corpora: uploading and listing the texts that models run over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response, request

from polyseme.contract.errors import InvalidRequest
from polyseme.contract.records.job import Corpus
from polyseme.contract.texts.formats import Notes
from polyseme.service.context import Services, services
from polyseme.service.corpora.register import (
    corpus_to_dict,
    delete_corpus,
    find_corpus,
    register_corpus,
    register_upload,
)
from polyseme.service.corpora.uploads import MEDIA_TYPES, plan_upload
from polyseme.service.http.answers import answer_json, answer_page
from polyseme.service.http.blueprint import LINK, LOCATION, Blueprint, problems
from polyseme.service.http.body import has_left, read_json, reader_of
from polyseme.service.http.problems import invalid_values
from polyseme.service.schemas.corpora import CorpusListSchema, CorpusSchema
from polyseme.service.schemas.query_parameters import CorporaQuery, UploadQuery
from polyseme.service.schemas.requests import TextsSchema

blueprint = Blueprint(
    "corpora", __name__, url_prefix="/v1/corpora", description="Texts that models run over."
)

_ONLY_UPLOADS = (
    "name", "sample_by", "field", "language_field", "format", "filename", "on_bad_line",
)  # fmt: skip
# So many may be blank, repeated or skipped for each document that may be kept, and so many anyhow.
_LINES_A_DOCUMENT = 10
_LINES = 200_000
_EXAMPLES = {
    "text/plain": "The first document.\nThe second.\n",
    "application/x-ndjson": '{"text": "The first document."}\n{"text": "The second."}\n',
    "application/jsonl": '{"text": "The first document."}\n"The second."\n',
    "application/octet-stream": '[{"text": "The first document."}, "The second."]',
}
_BODY = {
    "required": True,
    "description": "JSON with the texts, or a file: plain text, JSON lines, a JSON array, CSV or "
    "TSV with `?field=`, Parquet, each as it is or packed with gzip or zstd. As "
    "application/octet-stream what is inside decides which it is; other types, and `?format=`, "
    "must not contradict it.",
    "content": {
        "application/json": {
            "schema": TextsSchema,
            "example": {"name": "greetings", "texts": ["Good morning.", "Good night."]},
        },
        **{
            kind: {
                "schema": {"type": "string"},
                **({"example": _EXAMPLES[kind]} if kind in _EXAMPLES else {}),
            }
            for kind in MEDIA_TYPES
        },
    },
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(UploadQuery, location="query")
@blueprint.doc(operationId="addCorpus", requestBody=_BODY)
@blueprint.response(201, CorpusSchema, description="Registered.", headers={"Location": LOCATION})
@blueprint.alt_response(
    200,
    schema=CorpusSchema,
    description="It was registered before.",
    headers={"Location": LOCATION},
    success=True,
)
@problems(
    {
        400: "broken JSON, or damaged gzip or zstd data",
        409: "the name holds other content",
        413: "too many bytes or documents, or one document is too long",
        415: "a Content-Type, a Content-Encoding or a content that is not taken",
        422: "a line is no document, the content is not what it is said to be, or no text is left",
        429: "the tenant may store no more, or send no more requests in this minute",
        507: "the store has no room left",
    }
)
def add(query: Mapping[str, Any]) -> Response:
    """Add a corpus

    Exact duplicates and blank documents are dropped, and counted in the answer.
    """
    here, notes = services(), Notes()
    if request.mimetype == "application/json":
        corpus, is_new = _add_texts(here, query)
    else:
        corpus, is_new = _add_upload(here, query, notes)
    headers = {"Location": f"{here.base}/v1/corpora/{corpus.id}"}
    answer = corpus_to_dict(corpus) | {"warnings": notes.warnings}
    return answer_json(answer, 201 if is_new else 200, headers)


@blueprint.route("", methods=["GET"])
@blueprint.arguments(CorporaQuery, location="query")
@blueprint.doc(operationId="listCorpora")
@blueprint.response(200, CorpusListSchema, headers={"Link": LINK})
@problems(
    {
        400: "a cursor that is not of this list",
        410: "an expired cursor",
        422: "a parameter is not allowed",
    }
)
def list_corpora(query: Mapping[str, Any]) -> Response:
    """List corpora, newest first"""
    here = services()
    corpora = here.board.registry.list_corpora(here.tenant)
    page, cursor = here.cursors.cut("corpora", corpora, query, here.tenant)
    return answer_page([corpus_to_dict(c) for c in page], cursor)


@blueprint.route("/<corpus:corpus_id>", methods=["GET"])
@blueprint.doc(operationId="getCorpus")
@blueprint.response(200, CorpusSchema)
@problems({404: "no such corpus"})
def get_corpus(corpus_id: str) -> Response:
    """Read a corpus' sizes"""
    return answer_json(corpus_to_dict(find_corpus(services(), corpus_id)))


@blueprint.route("/<corpus:corpus_id>", methods=["DELETE"])
@blueprint.doc(operationId="deleteCorpus")
@blueprint.response(204, description="The corpus is gone; results made from it stay.")
@problems({404: "no such corpus", 409: "a job that has not ended reads it"})
def delete(corpus_id: str) -> Response:
    """Delete a corpus"""
    delete_corpus(services(), corpus_id)
    return Response(status=204)


def _add_texts(here: Services, query: Mapping[str, Any]) -> tuple[Corpus, bool]:
    if given := [name for name in _ONLY_UPLOADS if name in query]:
        raise InvalidRequest(
            f"{given[0]} goes with an upload that is not application/json", pointer=f"/{given[0]}"
        )
    body = read_json(request, here.settings.inline_bytes)
    schema = TextsSchema()
    if messages := schema.validate(body):
        raise invalid_values(messages)
    return register_corpus(here, body["texts"], body.get("name"))


def _add_upload(here: Services, query: Mapping[str, Any], notes: Notes) -> tuple[Corpus, bool]:
    reading = plan_upload(
        request.mimetype,
        request.mimetype_params.get("charset"),
        request.headers.get("Content-Encoding"),
        query,
        here.settings.upload_bytes,
        max(_LINES, _LINES_A_DOCUMENT * here.settings.max_documents),
    )
    is_gone = partial(has_left, request)
    return register_upload(here, reader_of(request), reading, query.get("name"), notes, is_gone)
