"""/ and /ui/…: the web dashboard. It is files alone: all that it shows, it reads from the public API."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from service.access import open_to_all
from service.blueprint import takes_any_query
from service.secure_headers import APP_POLICY

_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_PAGE: Final = "index.html"


@dataclass(frozen=True)
class Asset:
    body: bytes
    packed: bytes  # with gzip
    mimetype: str
    tag: str  # the ETag: the content's hash


def load_assets() -> dict[str, Asset]:
    """The built files by name. `make dashboard` builds them; the package ships them."""
    folder = files("service") / "dashboard" / "static"
    return {f.name: _pack(f.name, f.read_bytes()) for f in folder.iterdir() if f.name[f.name.rfind(".") :] in _TYPES}


def register_dashboard(app: Flask) -> None:
    assets = load_assets()

    @app.get("/")
    @app.get("/ui")
    @app.get("/ui/<path:view>")
    @open_to_all
    @takes_any_query
    def dashboard(view: str = "") -> Response:
        """The page is the same for every view: its script reads the address."""
        answer = _answer(assets[_PAGE])
        answer.headers["Content-Security-Policy"] = APP_POLICY
        return answer

    @app.get("/static/<name>")
    @open_to_all
    def dashboard_file(name: str) -> Response:
        if name not in assets or name == _PAGE:
            raise NotFound
        return _answer(assets[name])


def _pack(name: str, body: bytes) -> Asset:
    tag = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, mtime=0), _TYPES[name[name.rfind(".") :]], tag)


def _answer(asset: Asset) -> Response:
    """A browser asks each time whether its copy is still good, so an upgrade needs no reload."""
    packed = request.accept_encodings.quality("gzip") > 0
    answer = Response(asset.packed if packed else asset.body, mimetype=asset.mimetype)
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["Vary"] = "Accept-Encoding"
    if packed:
        answer.headers["Content-Encoding"] = "gzip"
    answer.set_etag(asset.tag, weak=True)
    answer.make_conditional(request)
    return answer
