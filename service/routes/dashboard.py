"""/, /ui/… and /embed/…: the web dashboard, and one neuron for other pages.

These are files alone: all that they show, they read from the public API.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from polyseme.service.access.callers import is_served, open_to_all
from polyseme.service.context import services
from polyseme.service.http.blueprint import takes_any_query
from polyseme.service.http.origins import parse_origins
from polyseme.service.http.secure_headers import APP_POLICY, EMBED_POLICY

_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_PAGE: Final = "index.html"
_EMBED: Final = "embed.html"
_ELEMENT: Final = "polyseme-neuron.js"  # what other pages load
_NEURON_VIEW: Final = re.compile(r"jobs/job_[0-9a-f]{28}/neurons/[0-9]{1,9}/[0-9]{1,9}")


@dataclass(frozen=True)
class Asset:
    body: bytes
    packed: bytes  # with gzip
    mimetype: str
    tag: str  # the ETag: the content's hash


def load_assets() -> dict[str, Asset]:
    """The built files by name. `make dashboard` builds them; the package ships them."""
    folder = files("polyseme.service") / "dashboard" / "static"
    return {
        f.name: _pack(f.read_bytes(), _TYPES[f.name[f.name.rfind(".") :]])
        for f in folder.iterdir()
        if f.name[f.name.rfind(".") :] in _TYPES
    }


def register_dashboard(app: Flask, embed_origins: str) -> None:
    """Raises ValueError when one of the origins is none."""
    assets, origins = load_assets(), parse_origins("embed_origins", embed_origins)
    embed_policy = EMBED_POLICY.format(origins=" ".join(origins) or "'none'")

    @app.get("/")
    @app.get("/ui")
    @app.get("/ui/<path:view>")
    @open_to_all
    @takes_any_query
    def dashboard(view: str = "") -> Response:
        """The page is the same for every view: its script reads the address."""
        answer = _answer(_below(request.script_root, assets[_PAGE]))
        answer.headers["Content-Security-Policy"] = APP_POLICY
        # The browser asks for the report before it has the script. It has no key to send with that.
        if _NEURON_VIEW.fullmatch(view) and is_served(services(), request):
            answer.headers["Link"] = (
                f"<{request.script_root}/v1/{view}>; rel=preload; as=fetch; crossorigin"
            )
        return answer

    @app.get("/embed/<path:view>")
    @open_to_all
    @takes_any_query
    def embed(view: str) -> Response:
        """One neuron.

        Pages of the allowed origins may frame it, which the policy says to browsers.
        """
        answer = _answer(_below(request.script_root, assets[_EMBED]))
        answer.headers["Content-Security-Policy"] = embed_policy
        return answer

    @app.get("/static/<name>")
    @open_to_all
    def dashboard_file(name: str) -> Response:
        if name not in assets or name in (_PAGE, _EMBED):
            raise NotFound
        answer = _answer(assets[name])
        if name == _ELEMENT:
            answer.vary.add("Origin")
            if (origin := request.headers.get("Origin")) in origins:
                answer.headers["Access-Control-Allow-Origin"] = origin
        return answer


def _pack(body: bytes, mimetype: str) -> Asset:
    tag = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, mtime=0), mimetype, tag)


def _below(base: str, page: Asset) -> Asset:
    """A page whose files and links lie below a path. Its tag is another: caches keep them apart."""
    if not base:
        return page
    return _pack(page.body.replace(b'="/', f'="{base}/'.encode()), page.mimetype)


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
