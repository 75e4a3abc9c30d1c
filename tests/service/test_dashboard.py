"""The dashboard's files: how they are served, and that they are what the sources give."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from flask.testing import FlaskClient

DASHBOARD = Path(__file__).parents[2] / "service" / "dashboard"
MOST_JAVASCRIPT = 150_000  # bytes, compressed


@pytest.mark.parametrize(
    "path",
    ["/", "/ui", "/ui/jobs", "/ui/jobs/job_1/neurons/3/4?same_at=0.1&tail=negative", "/ui/x/"],
)
def test_every_view_is_the_same_page(path: str, http: FlaskClient) -> None:
    answer = http.get(path)

    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert answer.data == (DASHBOARD / "static" / "index.html").read_bytes()


def test_the_page_needs_no_key_and_nothing_from_elsewhere(http: FlaskClient, key: str) -> None:
    page = http.get("/").text
    named = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert key
    assert all(name.startswith("/") for name in named)
    assert [http.get(name).status_code for name in named] == [200] * len(named)
    assert "<style" not in page
    assert not re.search(r"<script(?! type=\"module\" src=)| style=| on\w+=", page)


NEURON = f"/ui/jobs/job_{'0' * 28}/neurons/3/4"


@pytest.mark.parametrize(
    ("path", "host", "link"),
    [
        (
            f"{NEURON}?tail=negative",
            "localhost",
            f"<{NEURON.replace('ui', 'v1')}>; rel=preload; as=fetch; crossorigin",
        ),
        (f"{NEURON}/5", "localhost", None),
        ("/ui/jobs", "localhost", None),
        (NEURON, "polyseme.example", None),
    ],
)
def test_a_browser_is_told_to_ask_for_a_neurons_report_at_once(
    path: str, host: str, link: str | None, http: FlaskClient
) -> None:
    assert http.get(path, headers={"Host": host}).headers.get("Link") == link


def test_a_report_that_takes_a_key_is_asked_for_by_the_script_alone(
    http: FlaskClient, key: str
) -> None:
    assert key
    assert "Link" not in http.get(NEURON).headers


def test_a_script_goes_out_compressed_and_only_once(http: FlaskClient) -> None:
    packed = http.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    again = http.get("/static/app.js", headers={"If-None-Match": packed.headers["ETag"]})

    assert packed.mimetype == "text/javascript"
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == http.get("/static/app.js").data
    assert len(packed.data) < MOST_JAVASCRIPT
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["index.html", "package.json", "..%2fpackage.json", "app.js.map"])
def test_no_other_file_is_served(name: str, http: FlaskClient) -> None:
    assert http.get(f"/static/{name}").status_code == 404


def test_what_is_committed_is_what_the_sources_give(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (DASHBOARD / "node_modules" / "esbuild").exists():
        pytest.skip("needs Node.js and `make dashboard`")

    subprocess.run([node, str(DASHBOARD / "build.js"), str(tmp_path)], check=True)

    built, committed = (
        {f.name: f.read_bytes() for f in d.iterdir()} for d in (tmp_path, DASHBOARD / "static")
    )
    assert built == committed
