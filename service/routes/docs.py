"""/openapi.json and /docs: the OpenAPI document, and a page that shows it with files from this
machine only.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from flask import Flask, Response, render_template, request, send_from_directory
from werkzeug.exceptions import NotFound

from polyseme.service.access.callers import open_to_all
from polyseme.service.http.secure_headers import PAGE_POLICY
from polyseme.service.json_text import dump_json

# The files of Swagger UI that the page uses, of those that the package ships.
_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")


def register_docs(app: Flask, document: dict[str, Any]) -> None:
    """document: the OpenAPI document. Its server is where the request came to."""
    folder = str(files("flask_swagger_ui") / "dist")
    at_root = dump_json(document)

    @app.get("/openapi.json")
    @open_to_all
    def openapi() -> Response:
        base = request.script_root
        text = dump_json(document | {"servers": [{"url": base}]}) if base else at_root
        return Response(text, content_type="application/json")

    @app.get("/docs")
    @open_to_all
    def docs() -> Response:
        return Response(
            render_template("docs.html"),
            headers={"Content-Security-Policy": PAGE_POLICY},
            mimetype="text/html",
        )

    @app.get("/docs/<path:name>")
    @open_to_all
    def docs_file(name: str) -> Response:
        if name == "start.js":
            return Response(render_template("docs.js"), mimetype="text/javascript")
        if name not in _ASSETS:
            raise NotFound
        return send_from_directory(folder, name, max_age=3600)
