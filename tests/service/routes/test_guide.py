from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted(str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.rglob("*.md"))


def read(http: FlaskClient, address: str) -> str:
    answer = http.get(address)
    assert answer.status_code == 200, address
    return answer.get_data(as_text=True)


def test_the_list_leads_to_every_page(http: FlaskClient) -> None:
    index = read(http, "/guide")

    assert sorted(re.findall(r'href="guide/([^"]+)"', index)) == PAGES
    assert ">Measures</a>" in index


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_its_file_and_its_links_lead_to_what_is_there(
    http: FlaskClient, page: str
) -> None:
    html = read(http, f"/guide/{page}")

    heading = (DOCS / f"{page}.md").read_text().partition("\n")[0].lstrip("# ").replace("`", "")
    assert heading in re.sub(r"</?code>", "", html)
    for kind, address in re.findall(r'(href|src)="([^"]*)"', html):
        if re.match("https?:", address):
            continue
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join("/guide", posixpath.dirname(page), path))
        if kind == "src":
            assert http.get(target).mimetype.startswith("image/")
            continue
        shown = read(http, target) if path else html
        assert not anchor or f'id="{anchor}"' in shown, (page, address)


def test_pages_are_marked_up(http: FlaskClient) -> None:
    html = read(http, "/guide/measures")

    assert "<table>" in html
    assert "](" not in re.sub(r"<(code|pre)>.*?</\1>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize("name", ["nothing", "measures.md", "../app.py", "..%2fapp", "decisions"])
def test_nothing_else_is_served(http: FlaskClient, name: str) -> None:
    assert http.get(f"/guide/{name}").status_code == 404
