"""/guide: the project's written docs, as pages of the service that they are about.

The files are those of `docs/`, which the package ships; Markdown as GitHub reads it, without HTML.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from flask import Flask, Response, render_template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from werkzeug.exceptions import NotFound

from polyseme.service.access.callers import open_to_all
from polyseme.service.http.secure_headers import PAGE_POLICY

_IMAGES: Final = {".png": "image/png", ".svg": "image/svg+xml"}
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_NO_SLUG: Final = re.compile(r"[^\w\- ]")
_SCHEME: Final = re.compile(r"[a-z]+:", re.IGNORECASE)
_DECISIONS: Final = "decisions/"


@dataclass(frozen=True)
class Guide:
    """The files of the docs by their paths; a page's is without `.md`."""

    pages: Mapping[str, str]
    images: Mapping[str, bytes]

    def title(self, page: str) -> str:
        """Its first heading, without marks."""
        return self.pages[page].partition("\n")[0].lstrip("# ").replace("`", "")


@lru_cache(maxsize=1)
def load_guide() -> Guide:
    pages: dict[str, str] = {}
    images: dict[str, bytes] = {}
    for path, file in _walk(files("polyseme.service") / "guide", ""):
        stem, suffix = posixpath.splitext(path)
        if suffix == ".md":
            pages[stem] = file.read_text(encoding="utf-8")
        elif suffix in _IMAGES:
            images[path] = file.read_bytes()
    return Guide(dict(sorted(pages.items())), images)


def _walk(folder: Traversable, prefix: str) -> Iterable[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        else:
            yield path, entry


def register_guide(app: Flask) -> None:
    @app.get("/guide")
    @open_to_all
    def guide() -> Response:
        """The list of pages."""
        found = load_guide()
        titles = {page: found.title(page) for page in found.pages}
        parts = {
            "Docs": {p: t for p, t in titles.items() if not p.startswith(_DECISIONS)},
            "Decisions": {p: t for p, t in titles.items() if p.startswith(_DECISIONS)},
        }
        return _page(render_template("guide_index.html", parts=parts))

    @app.get("/guide/<path:name>")
    @open_to_all
    def guide_page(name: str) -> Response:
        found = load_guide()
        if name in found.images:
            kind = _IMAGES[posixpath.splitext(name)[1]]
            return Response(found.images[name], mimetype=kind)
        if name not in found.pages:
            raise NotFound
        root = "../" * (name.count("/") + 1)
        return _page(
            render_template(
                "guide.html", title=found.title(name), body=Markup(render(name)), root=root
            )
        )


def _page(html: str) -> Response:
    return Response(html, headers={"Content-Security-Policy": PAGE_POLICY}, mimetype="text/html")


@lru_cache(maxsize=64)
def render(page: str) -> str:
    """A page's HTML. Its links lead to other pages here, or are text where there is none."""
    found = load_guide()
    tokens = _MARKDOWN.parse(found.pages[page])
    slugs: set[str] = set()
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            token.attrSet("id", _slug(following.content, slugs))
        for part in token.children or ():
            if part.type == "link_open":
                _lead(part, page, found)
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _slug(heading: str, taken: set[str]) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    plain = slug = _NO_SLUG.sub("", text.strip().lower()).replace(" ", "-")
    count = 0
    while slug in taken:
        count += 1
        slug = f"{plain}-{count}"
    taken.add(slug)
    return slug


def _lead(link: Token, page: str, found: Guide) -> None:
    """Has a link lead to the page of a file, or nowhere."""
    href = str(link.attrGet("href") or "")
    if href.startswith("#"):
        return
    if _SCHEME.match(href):
        link.attrSet("rel", "noreferrer")
        return
    path, mark, fragment = href.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if target in found.images:
        return
    stem = target.removesuffix(".md") if target.endswith(".md") else f"{target}/README"
    if stem in found.pages:
        link.attrSet(
            "href", posixpath.relpath(stem, posixpath.dirname(page) or ".") + mark + fragment
        )
    else:
        del link.attrs["href"]
