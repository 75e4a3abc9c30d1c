"""The OpenAPI document: what flask-smorest collects from the routes, and what all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask_smorest import Api
from marshmallow import Schema
from werkzeug.routing import BaseConverter

from polyseme.contract import __version__
from polyseme.contract.records.catalogue import MODEL_ID
from polyseme.contract.records.job import BATCH_ID, CHECK_ID, CORPUS_ID, JOB_ID
from polyseme.contract.records.vector_set import VECTORS_ID
from polyseme.service.http.problems import MEDIA_TYPE

_DESCRIPTION = """\
Finds out what makes the neurons of a language model fire. Submit a job, poll it, read its neurons.

Errors are `application/problem+json` (RFC 9457) with a stable `code` and a JSON pointer to each
wrong value. Unknown fields and unknown query parameters are refused.

Send an API key as `Authorization: Bearer psk_…`. Reading needs a key with the scope `read`,
everything else `submit`, and `admin` has both. A service that never had a key serves its own
machine without one.
"""
_SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, from `polyseme keys create`.",
    }
}
_CHALLENGE = {"description": "`Bearer …` (RFC 6750)", "schema": {"type": "string"}}
_RATE = {
    "RateLimit-Policy": {
        "description": '`"requests";q=…;w=60`: requests a minute.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": '`"requests";r=…;t=…`: left, for so many seconds.',
        "schema": {"type": "string"},
    },
}
# What any route may answer that takes a key.
_GUARDED = {
    "401": "Unauthorized: no API key that is valid",
    "403": "Forbidden: the key lacks a scope, which is named; or there are no keys, and this is "
    "another machine",
    "429": "Too Many Requests: the tenant has sent as many in this minute as it may",
}
_REQUEST_ID = {
    "description": "The request's X-Request-Id when it had a plain one, otherwise a new one.",
    "schema": {"type": "string"},
}
# What any route may answer.
_COMMON = {
    "422": "Unprocessable Content: an unknown query parameter",
    "500": "Internal Server Error",
    "503": "Service Unavailable: the job board or the store does not answer, or no worker has "
    "been there yet",
}


class JobConverter(BaseConverter):
    regex = JOB_ID.pattern


class CheckConverter(BaseConverter):
    """A live check."""

    regex = CHECK_ID.pattern


class BatchConverter(BaseConverter):
    regex = BATCH_ID.pattern


class CorpusConverter(BaseConverter):
    regex = CORPUS_ID.pattern


class VectorsConverter(BaseConverter):
    regex = VECTORS_ID.pattern


class ModelConverter(BaseConverter):
    regex = MODEL_ID.pattern


class IndexConverter(BaseConverter):
    """A layer or a neuron."""

    regex = r"0|[1-9][0-9]{0,6}"

    def to_python(self, value: str) -> int:
        return int(value)


CONVERTERS: dict[str, type[BaseConverter]] = {
    "job": JobConverter,
    "check": CheckConverter,
    "batch": BatchConverter,
    "corpus": CorpusConverter,
    "vectors": VectorsConverter,
    "model": ModelConverter,
    "index": IndexConverter,
}


class DocumentedApi(Api):
    """An error of one kind or another is documented with each route, not as a nameless default."""

    DEFAULT_ERROR_RESPONSE_NAME = None


def create_api(app: Flask) -> Api:
    app.url_map.converters |= CONVERTERS
    app.config.update(API_TITLE="Polyseme", API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    options = {
        "marshmallow_plugin": MarshmallowPlugin(),
        "info": {
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
    }
    api = DocumentedApi(app, spec_kwargs=options)
    for converter in (
        JobConverter,
        CheckConverter,
        BatchConverter,
        CorpusConverter,
        VectorsConverter,
        ModelConverter,
    ):
        api.register_converter(converter, lambda c: {"type": "string", "pattern": f"^{c.regex}$"})
    api.register_converter(
        IndexConverter, lambda _: {"type": "integer", "minimum": 0, "maximum": 9_999_999}
    )
    return api


def build_document(api: Api, events: Mapping[str, type[Schema]]) -> dict[str, Any]:
    """events: the bodies of webhooks, "JobEvent" and "BatchEvent"."""
    for name, schema in events.items():
        api.spec.components.schema(name, schema=schema)
    document: dict[str, Any] = api.spec.to_dict()
    document["components"]["securitySchemes"] = _SECURITY
    for schema in document["components"]["schemas"].values():
        _say_defaults(schema)
    document["security"] = [{"key": []}]
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                _complete(operation)
    document["webhooks"] = {
        "jobEnded": {"post": _describe_event("jobEnded", "A job has ended", "a job", "JobEvent")},
        "batchEnded": {
            "post": _describe_event("batchEnded", "A batch has ended", "a batch", "BatchEvent")
        },
    }
    return document


def _say_defaults(schema: dict[str, Any]) -> None:
    """Puts the defaults of a request's fields into their descriptions.

    Generators of clients make of the keyword `default` a field that has to be sent, or that is
    always sent; here what is sent is not the same as what is left out.
    """
    for field in schema.get("properties", {}).values():
        if (default := field.pop("default", None)) is not None:
            described = field.get("description", "")
            field["description"] = f"{described} Default: {json.dumps(default)}.".strip()


def _describe_event(name: str, summary: str, what: str, schema: str) -> dict[str, Any]:
    headers = {
        "webhook-id": "Of the event: the same with every attempt.",
        "webhook-timestamp": "Of the attempt, in seconds since 1970.",
        "webhook-signature": "`v1,` and the base64 of an HMAC-SHA256; two of them, with a space "
        "between, for a day "
        "after the secret was rotated.",
    }
    return {
        "operationId": name,
        "summary": summary,
        "description": f"Sent to the `webhook.url` of {what}, signed as the Standard Webhooks "
        f"specification has it.",
        "parameters": [
            {
                "in": "header",
                "name": name,
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in headers.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        },
        "responses": {
            "2XX": {"description": "Taken: it is not sent again."},
            "410": {
                "description": f"It is not sent again either; {what} then says that it failed."
            },
            "default": {
                "description": "It is sent again later, up to twelve times in about a day."
            },
        },
    }


def _complete(operation: dict[str, Any]) -> None:
    """Adds what all routes share; and drops the bodiless 422 that flask-smorest notes for
    arguments.
    """
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    is_open = operation.get("security") == []
    for status, description in (_COMMON if is_open else _COMMON | _GUARDED).items():
        given = operation["responses"].get(status, {})
        if MEDIA_TYPE not in given.get("content", {}):
            operation["responses"][status] = {"description": description, "content": problem}
    for status, response in operation["responses"].items():
        response.setdefault("headers", {})["X-Request-Id"] = _REQUEST_ID
        if not is_open:
            response["headers"] |= _RATE if status != "401" else {}
            response["headers"] |= (
                {"WWW-Authenticate": _CHALLENGE} if status in ("401", "403") else {}
            )
        if status in ("429", "503"):
            response["headers"]["Retry-After"] = {
                "description": "Seconds.",
                "schema": {"type": "integer"},
            }
