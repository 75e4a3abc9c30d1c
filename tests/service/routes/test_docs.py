from __future__ import annotations

import re

from flask.testing import FlaskClient


def test_the_page_needs_nothing_from_elsewhere(http: FlaskClient) -> None:
    page = http.get("/docs")

    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.get_data(as_text=True))
    assert len(wanted) == 5
    for address in wanted:
        assert "//" not in address
        assert http.get(f"/{address}").status_code == 200
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]


def test_the_page_shows_this_service(http: FlaskClient) -> None:
    script = http.get("/docs/start.js").get_data(as_text=True)

    assert 'url: "openapi.json"' in script
    assert http.get("/openapi.json").get_json()["info"]["title"] == "Polyseme"


def test_only_the_files_of_the_page_are_served(http: FlaskClient) -> None:
    for name in ("swagger-ui.js", "../__init__.py", "..%2f__init__.py", "VERSION"):
        assert http.get(f"/docs/{name}").status_code == 404
