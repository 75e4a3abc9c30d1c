"""The dashboard in a real browser, on a real service: each view, and each way through them.

No worker runs: results are prepared, and the board is moved as workers move it.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from benchmarks.page import find_chromium
from polyseme.contract.board.board import Board
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import ACTIVATIONS, Job
from polyseme.service.app import create_app
from polyseme.service.waiting import event_stream
from tests.client.standins import wait_until
from tests.factories import (
    add_corpus,
    make_card,
    make_dictionary,
    make_manifest,
    open_job,
    run_job,
    take_unit,
    write_result,
)
from tests.servers import RedisServer
from tests.service.conftest import make_settings, serving

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the dashboard's tests need playwright"
)
expect = sync_api.expect

# As the browser does when one turns to another tab, and back.
SHOW = """is => {
    Object.defineProperty(document, "hidden", {value: !is, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
AXE = files("axe_playwright_python") / "axe.min.js"
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Site:
    url: str
    http: httpx.Client
    board: Board
    store: Store
    done: Job  # it succeeded, with senses of every kind
    other: Job  # likewise, over the same text, of two of the layers
    failed: Job

    def report(self, layer: int, neuron: int) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(
            f"/v1/jobs/{self.done.id}/neurons/{layer}/{neuron}"
        ).json()
        return found

    def list(self, query: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{self.done.id}/neurons?{query}").json()
        return found

    @property
    def polysemantic(self) -> dict[str, Any]:
        """The report of one with four senses, two of them of one field, the last tentative."""
        row = self.list("status=polysemantic&sort=-sense_count&limit=1")["data"][0]
        return self.report(row["layer"], row["neuron"])


@contextmanager
def running_site(folder: Path, **changes: Any) -> Iterator[Site]:
    with RedisServer.running() as redis:
        board, store = Board.connect(redis.url), Store(str(folder / "store"))
        board.registry.put_card(make_card())
        board.registry.put_dictionary(make_dictionary())
        board.registry.put_dictionary(make_dictionary(id="mlp-3", layer=3))
        add_corpus(board, store)
        app: Flask = create_app(replace(make_settings(redis.url, folder), **changes))
        other = add_result(board, store, layers=(1, 2), seed=4)
        done = open_job(board)
        write_result(store, done.id, contexts=18, senses=True)
        run_job(board, done.id)
        failed = run_job(board, open_job(board).id, status="failed")
        with serving(app) as http:
            yield Site(str(http.base_url).rstrip("/"), http, board, store, done, other, failed)


def add_result(
    board: Board, store: Store, *, layers: tuple[int, ...], seed: int, **request: Any
) -> Job:
    """A job of some layers that succeeded, with senses. request: its other options."""
    request = {"neurons": {"layers": ",".join(map(str, layers))}, **request}
    job = open_job(board, **request)
    manifest = make_manifest(layers, **request)
    write_result(
        store, job.id, contexts=18, senses=True, layers=layers, seed=seed, manifest=manifest
    )
    return run_job(board, job.id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium was found: install one, or name it in CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@dataclass
class Seen:
    """What a page said and asked for."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: str = "$^"  # a pattern of console errors that a test provokes


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(browser: Any, seen: Seen) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    found.set_default_timeout(PATIENCE_MS)
    found.on(
        "console", lambda m: seen.errors.append(m.text) if m.type in ("error", "warning") else None
    )
    found.on("pageerror", lambda e: seen.errors.append(str(e)))
    found.on("request", lambda r: seen.hosts.add(re.split("[:/]+", r.url)[1]))
    yield found
    context.close()
    assert [e for e in seen.errors if not re.search(seen.allowed, e)] == []
    assert seen.hosts <= {"127.0.0.1"}


def read_cells(page: Any, column: int) -> list[str]:
    texts: list[str] = page.locator(
        f"table.neurons tbody tr:not(.gap) td:nth-child({column})"
    ).all_inner_texts()
    return texts


def name(row: dict[str, Any]) -> str:
    return f"L{row['layer']} · {row['neuron']}"


def test_the_first_view_lists_the_jobs_and_leads_to_a_result(page: Any, site: Site) -> None:
    page.goto(site.url)

    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.get_by_role("link", name=f"…{site.done.id[-8:]}").click()

    expect(page).to_have_url(f"{site.url}/ui/jobs/{site.done.id}")
    expect(page.get_by_role("heading", name="Layers")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def test_jobs_are_filtered_by_status_in_the_address(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/jobs?status=failed")
    expect(page.locator("table.jobs tbody tr")).to_have_count(1)

    page.get_by_label("Status").select_option("queued")

    expect(page).to_have_url(re.compile(r"status=queued"))
    expect(page.get_by_text("No job has this status.")).to_be_visible()


def test_a_result_shows_what_its_summary_says(page: Any, site: Site) -> None:
    summary = site.http.get(f"/v1/jobs/{site.done.id}/summary").json()

    page.goto(f"{site.url}/ui/jobs/{site.done.id}")

    for status in ("monosemantic", "polysemantic", "described"):
        cells = page.locator(".statuses tr").filter(has=page.locator(f".status.{status}"))
        controls = summary["controls"]["statuses"][status] / summary["controls"]["units"]
        expect(cells.locator("td").nth(1)).to_have_text(str(summary["statuses"][status]))
        expect(cells.locator("td").nth(3)).to_have_text(f"{controls:.0%}".replace("%", " %"))
    expect(page.locator(".layers tbody tr")).to_have_count(len(summary["layers"]))
    expect(page.locator("figure.chart")).to_have_count(6)
    most = site.list("status=polysemantic&min_coverage=0.8&sort=-selectivity&limit=1")["data"][0]
    expect(
        page.get_by_role("region", name="Several things, most selective").get_by_role("link").first
    ).to_have_text(name(most))
    page.get_by_role("link", name="Layer 2: its neurons").click()
    expect(page).to_have_url(f"{site.url}/ui/jobs/{site.done.id}/neurons?layer=2")


def test_another_result_over_the_same_text_is_set_beside_one(page: Any, site: Site) -> None:
    path = f"/v1/jobs/{site.done.id}/summary?beside={site.other.id}"
    found = site.http.get(path).json()
    page.goto(f"{site.url}/ui/jobs/{site.done.id}")

    page.get_by_role("link", name="Set another result beside it").click()
    choice = page.get_by_label("Beside")
    expect(choice.locator("option")).to_have_count(2)
    choice.select_option(site.other.id)

    expect(page).to_have_url(f"{site.url}/ui/jobs/{site.done.id}/beside?other={site.other.id}")
    expect(page.locator(".says")).to_have_text(found["says"].replace(" %", "\u00a0%"))
    table = page.get_by_role("region", name="In numbers")
    groups = [r[name] for r in found["results"] for name in ("neurons", "controls")]
    row = table.locator("tbody tr").filter(has=page.locator(".status.polysemantic"))
    expect(row.locator("td")).to_have_text(
        [f"{round(100 * g['shares']['polysemantic'])} %" for g in groups]
    )
    expect(table.locator("tbody tr").first.locator("td")).to_have_text(
        [str(g["units"]) for g in groups]
    )
    expect(page.locator(".shares .whole")).to_have_count(4)
    expect(page.get_by_role("img", name="First, controls: ")).to_be_visible()
    expect(page.get_by_text("Units in both results: 96.")).to_be_visible()
    expect(page.get_by_role("link", name="as JSON")).to_have_attribute("href", path)


def test_scores_are_drawn_on_one_axis(page: Any, site: Site) -> None:
    found = site.http.get(f"/v1/jobs/{site.done.id}/summary?beside={site.other.id}").json()
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/beside?other={site.other.id}")

    rows = page.locator(".chart svg g")
    expect(rows).to_have_count(2)
    boxes = [row.locator("rect").evaluate_all(BOXES) for row in rows.all()]
    assert [b[:2] for b in boxes[0]] == [b[:2] for b in boxes[1]]
    # The bars hold all units: those beyond the ends are in the outer ones.
    for drawn, result in zip(boxes, found["results"], strict=True):
        counts = result["neurons"]["score"]["counts"]
        total = sum(height for _, _, height in drawn)
        tallest = max(counts) / sum(counts)
        assert max(h for _, _, h in drawn) / total == pytest.approx(tallest, abs=0.01)
    expect(page.locator(".chart .outline")).to_have_count(2)
    expect(page.locator(".chart .median")).to_have_count(2)
    words = page.locator(".chart svg").get_attribute("aria-label")
    for result in found["results"]:
        for name in ("neurons", "controls"):
            assert f"median {result[name]['score']['quantiles']['0.5']:.2f}" in words


BOXES = "bars => bars.map(b => ['x', 'width', 'height'].map(n => +b.getAttribute(n)))"


def test_differences_stand_with_their_intervals(page: Any, site: Site) -> None:
    found = site.http.get(f"/v1/jobs/{site.done.id}/summary?beside={site.other.id}").json()
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/beside?other={site.other.id}")

    def tell(one: dict[str, float]) -> str:
        ends = [f"{one[n]:+.3f}".replace("-", "−") for n in ("difference", "low", "high")]
        return f"{ends[0]} {ends[1]} to {ends[2]}"

    expected = [found["difference"]["neurons"], found["difference"]["controls"]]
    expected += [r["against_controls"] for r in found["results"]]
    cells = page.locator("table.apart tbody tr td:last-child")
    expect(cells).to_have_text([tell(d["median_score"]) for d in expected])


def test_what_was_measured_otherwise_is_said(page: Any, site: Site) -> None:
    stricter = add_result(
        site.board, site.store, layers=(3,), seed=6, senses={"same_at": 0.5}, reuse=False
    )

    page.goto(f"{site.url}/ui/jobs/{site.done.id}/beside?other={stricter.id}")

    expect(page.locator(".notice li")).to_have_text(["senses.same_at: 0.35 and 0.5"])
    site.http.delete(f"/v1/jobs/{stricter.id}")


def test_a_result_over_another_text_is_refused_in_words(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 409"
    add_corpus(site.board, site.store, name="elsewhere")
    unlike = [
        add_result(site.board, site.store, layers=(1,), seed=1, **request)
        for request in ({"contexts": {"window": 64}}, {"corpus": {"id": "elsewhere"}})
    ]
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/beside")
    choice = page.get_by_label("Beside")
    expect(choice.locator(f"option[value={unlike[0].id}]")).to_have_count(1)
    expect(choice.locator(f"option[value={unlike[1].id}]")).to_have_count(0)

    choice.select_option(unlike[0].id)

    expect(page.get_by_role("alert")).to_contain_text(
        "have not read the same text: window: 128 and 64"
    )
    choice.select_option(site.other.id)
    expect(page.locator(".says")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    for job in unlike:
        site.http.delete(f"/v1/jobs/{job.id}")


def test_where_no_other_job_has_read_the_text_one_is_offered(page: Any, tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        site.http.delete(f"/v1/jobs/{site.other.id}")
        page.goto(f"{site.url}/ui/jobs/{site.done.id}/beside")

        expect(page.get_by_text("No other finished job has read notes.")).to_be_visible()
        page.get_by_role("link", name="Submit one").click()
        expect(page).to_have_url(f"{site.url}/ui/new?model=tiny-gated&corpus=notes")
        page.wait_for_load_state("networkidle")  # the form asks on, and this service ends here


def test_neurons_are_sorted_by_their_headings_and_the_address_keeps_it(
    page: Any, site: Site
) -> None:
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons?status=polysemantic")
    largest = site.list("status=polysemantic&sort=-max&limit=5")["data"]
    smallest = site.list("status=polysemantic&sort=max&limit=5")["data"]

    page.get_by_role("button", name="Largest").click()
    expect(page).to_have_url(re.compile("sort=-max"))
    expect(page.locator("table.neurons tbody tr").first).to_contain_text(name(largest[0]))
    assert read_cells(page, 1)[:5] == [name(r) for r in largest]
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Largest ↓")

    page.get_by_role("button", name="Largest").press("Enter")
    expect(page.locator("table.neurons tbody tr").first).to_contain_text(name(smallest[0]))
    page.reload()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Largest ↑")
    assert read_cells(page, 1)[:5] == [name(r) for r in smallest]


def test_neurons_are_found_by_token_and_bounds(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons")
    page.get_by_label("Peaks on the token").fill("river")
    page.get_by_label("Peaks on the token").press("Enter")
    expect(page).to_have_url(re.compile("token=river"))
    expect(page.locator(".total")).to_have_text(f"{site.list('token=river')['total']} neurons")

    page.get_by_label("Score from").fill("0.6")
    page.get_by_label("Score from").press("Tab")

    total = site.list("token=river&min_polysemanticity=0.6")["total"]
    expect(page.locator(".total")).to_have_text(f"{total} neurons")


def test_a_filter_that_is_not_allowed_says_so_at_its_field(
    page: Any, site: Site, seen: Seen
) -> None:
    seen.allowed = "status of 422"
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons?layer=3-1")

    expect(page.locator(".field.wrong label")).to_have_text("Layers")
    expect(page.get_by_label("Layers")).to_have_attribute("aria-invalid", "true")


def test_the_table_goes_on_to_the_last_neuron(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons")
    table = page.get_by_role("region", name="Table of neurons")
    expect(table.get_by_role("link").first).to_have_text("L0 · 0")

    for _ in range(3):
        table.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        page.wait_for_timeout(150)

    expect(table.get_by_role("link").last).to_have_text("L3 · 47")
    assert len(read_cells(page, 1)) < 80
    assert page.locator("tr[aria-rowindex]").last.get_attribute("aria-rowindex") == "193"


def test_a_neuron_says_what_it_means_and_shows_its_senses(page: Any, site: Site) -> None:
    report = site.polysemantic
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}")

    expect(page.locator(".meaning")).to_have_text(report["meaning"].replace(" %", "\u00a0%"))
    cards = page.locator(".senses .card")
    expect(cards).to_have_count(len(report["senses"]))
    first = report["senses"][0]
    typical = report["contexts"][first["medoid"]]
    expect(cards.first.locator(".contexts li").first).to_contain_text("the typical one")
    shown = cards.first.locator(".contexts li").first.locator(".shaded")
    assert shown.inner_text().split() == "".join(typical["tokens"]).split()
    expect(shown.locator("mark")).to_have_text(typical["tokens"][typical["peak"]].strip(" "))
    spoken = [[n["language"] for n in s["languages"]] for s in report["senses"]]
    expect(page.locator(".spoken")).to_have_count(sum(any(n != "Latin" for n in s) for s in spoken))
    expect(page.locator(".chart.wide .range")).to_have_count(len(report["senses"]))
    expect(page.locator("ol.logits").first.locator("li")).to_have_count(
        len(report["logits"]["promoted"])
    )
    link = page.get_by_role("link", name="This neuron as JSON")
    assert link.get_attribute("href") == report["links"]["self"]


def test_the_strongest_context_is_in_view_and_every_per_cent_is_of_all_firing(
    page: Any, site: Site
) -> None:
    [row] = site.list("status=described&min_coverage=0.4&max_coverage=0.6&limit=1")["data"]
    report = site.report(row["layer"], row["neuron"])
    strongest = max(report["contexts"], key=lambda c: c["activation"])
    place = f"jobs/{site.done.id}/neurons/{row['layer']}/{row['neuron']}"

    for path in (f"/ui/{place}", f"/embed/{place}"):
        page.goto(f"{site.url}{path}")
        first = page.get_by_label("Strongest contexts").locator("li").first
        expect(first).to_be_in_viewport()
        shown = first.locator(".shaded").inner_text()
        assert shown.split() == "".join(strongest["tokens"]).split()
        expect(page.locator(".card .share")).to_have_text("50\u00a0%")  # its share is 1.0


def test_a_context_is_the_documents_text_with_marks_for_special_tokens(
    page: Any, site: Site
) -> None:
    report = deepcopy(site.polysemantic)
    shown = report["contexts"][report["senses"][0]["medoid"]]
    shown |= {
        "text": "שלום\r\n    日x",
        "tokens": ["[CLS]", "<0xD7>", "\r", "\n", "    ", "<0xE6>", "<0x97>", "##x"],
        "activations": [0.0, 0.1, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0],
        "spans": [None, [0, 4], [4, 5], [5, 6], [6, 10], [10, 11], [10, 11], [11, 12]],
        "peak": 6,
        "peak_span": [10, 11],
        "special": [0],
    }
    path = f"/v1/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}"
    page.route(f"**{path}", lambda route: route.fulfill(json=report))

    page.goto(f"{site.url}{path.replace('/v1/', '/ui/')}")

    context = page.locator(".senses .card .contexts li").first.locator(".shaded")
    expect(context.locator("mark")).to_have_text("日")
    expect(context.locator(".special")).to_have_text("[CLS]")
    assert context.inner_text() == "[CLS]שלום↵⏎\n    日x"
    assert context.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert "mono" in context.evaluate("e => getComputedStyle(e).fontFamily")


def test_a_neurons_report_is_asked_for_once_and_before_the_script_is_there(
    page: Any, site: Site, seen: Seen
) -> None:
    seen.allowed = "ERR_FAILED|was preloaded using link preload but not used"
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    report = site.polysemantic
    link = site.url + report["links"]["self"]
    page.goto(link.replace("/v1/", "/ui/"))
    expect(page.locator(".meaning")).to_be_visible()
    with_script = asked.count(link)

    asked.clear()
    page.route("**/app.js", lambda route: route.abort())
    with page.expect_response(link):
        page.reload()

    assert with_script == 1
    assert asked.count(link) == 1


def test_senses_of_one_field_stand_together_and_say_how_sure_they_are(
    page: Any, site: Site
) -> None:
    report = site.polysemantic
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}")

    kin = [s["sense"] for s in report["senses"] if s["broad"] == 1]
    expect(page.locator(".broad .card")).to_have_count(len(kin))
    expect(page.locator(".broad > p")).to_contain_text(f"senses {kin[0] + 1} and {kin[1] + 1}")
    badges = page.locator(".senses .badge")
    expect(badges).to_have_text([re.compile("sure")] * 3 + [re.compile("tentative")])


def test_further_contexts_are_told_by_their_place(page: Any, site: Site) -> None:
    report = site.polysemantic
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}")
    beyond = [report["evidence"][i] for i in report["senses"][0]["evidence"]]

    card = page.locator(".senses .card").first
    card.get_by_text("further context").click()

    expect(card.locator(".evidence tbody tr")).to_have_count(len(beyond))
    expect(card.locator(".evidence tbody tr").first).to_contain_text(beyond[0]["text"].strip())


def test_a_neurons_numbers_stand_among_those_of_control_units(page: Any, site: Site) -> None:
    report = site.polysemantic
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}")

    share = round(100 * report["polysemanticity"]["score_percentile"])
    fact = page.locator(".fact").filter(has_text="polysemanticity")
    expect(fact).to_contain_text(f"higher than {share} % of control units")


def test_the_slider_shows_what_other_values_give(page: Any, site: Site) -> None:
    report = site.polysemantic
    path = f"/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}"
    curve = site.http.get(report["links"]["tree"]).json()["curve"]
    page.goto(site.url + path)
    slider, cards = (
        page.get_by_role("slider", name="How sure we must be"),
        page.locator(".senses .card"),
    )
    slider.focus()

    for point in reversed(curve):
        slider.press("End" if point is curve[-1] else "ArrowLeft")
        if point["same_at"] != report["polysemanticity"]["same_at"]:
            expect(page).to_have_url(f"{site.url}{path}?same_at={point['same_at']}")
            expect(page.locator(".preview")).to_contain_text(f"{point['sense_count'] or 0} sense")
        if not point["exact"]:
            # Sentence, numbers and histogram are of the preview as well.
            share = f"{round(100 * point['same_at'])}"
            expect(page.locator("p.meaning")).to_contain_text(f"At {share}")
            fact = page.locator(".fact").filter(has_text="coverage").first
            expect(fact).to_contain_text(f"{round(100 * point['coverage'])} %")
            expect(page.locator("svg .range")).to_have_count(point["sense_count"])
        expect(cards).to_have_count(
            len(report["senses"]) if point["exact"] else point["sense_count"]
        )

    page.get_by_role("button", name="Back to the result").click()
    expect(cards).to_have_count(len(report["senses"]))
    expect(page.locator("p.meaning")).to_have_text(report["meaning"].replace(" %", "\u00a0%"))


def test_chosen_colours_are_there_after_a_reload(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/about")
    page.get_by_label("Colours").select_option("dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_label("Colours")).to_have_value("dark")


def test_a_slow_report_does_not_keep_the_page_blank(page: Any, site: Site) -> None:
    link = site.url + site.polysemantic["links"]["self"]
    held: list[Any] = []
    page.route(link, lambda route: held.append(route))
    page.goto(link.replace("/v1/", "/ui/"), wait_until="commit")
    expect(page.get_by_text("Reading …")).to_be_visible()
    for route in held:
        route.continue_()
    expect(page.locator(".senses .card")).to_have_count(len(site.polysemantic["senses"]))


def test_senses_are_made_anew_from_the_preview(page: Any, site: Site) -> None:
    report = site.polysemantic
    page.goto(
        f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}"
        "?same_at=0.2"
    )

    page.get_by_role("button", name="Make all senses anew with it").click()

    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    expect(page.get_by_text("the neuron is shown again")).to_be_visible()
    made = site.board.jobs.get(re.findall(r"job_[0-9a-f]{28}", page.url)[0])
    assert made
    assert (made.analysis.source_job, made.analysis.senses.same_at) == (site.done.id, 0.2)
    write_result(site.store, made.id, contexts=18, senses=True)
    run_job(site.board, made.id)
    place = f"{report['layer']}/{report['neuron']}"
    expect(page).to_have_url(f"{site.url}/ui/jobs/{made.id}/neurons/{place}")
    page.go_back()
    expect(page).to_have_url(re.compile(rf"/ui/jobs/{site.done.id}/neurons/{place}"))
    site.http.delete(f"/v1/jobs/{made.id}")


def test_what_a_number_is_opens_by_a_tap(page: Any, site: Site) -> None:
    page.goto(site.url + site.polysemantic["links"]["self"].replace("/v1/", "/ui/"))
    fact = page.locator(".fact").filter(has_text="MS").first
    words = fact.get_by_text("the mean cosine of its contexts")
    expect(words).to_be_hidden()

    fact.locator("summary").click()

    expect(words).to_be_visible()


def test_a_neuron_that_is_not_there_has_a_hint_that_is_true(
    page: Any, site: Site, seen: Seen
) -> None:
    seen.allowed = "status of 404"
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/99/0")

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("list of the job's neurons")
    expect(alert).not_to_contain_text("deleted")


def test_tables_and_histogram_fit_a_phone(page: Any, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    neuron = site.polysemantic["links"]["self"].replace("/v1/", "/ui/")
    inner = "box => box.scrollWidth - box.clientWidth"
    job = f"/ui/jobs/{site.done.id}"
    beside = f"{job}/beside?other={site.other.id}"
    for path in ("/", job, f"{job}/neurons", neuron, beside):
        page.goto(site.url + path)
        expect(page.locator("main h1")).to_be_visible()
        expect(page.locator("main .waiting")).to_have_count(0)
        page.wait_for_timeout(300)
        boxes = page.locator(".scroll:visible, .window:visible").evaluate_all(
            f"boxes => boxes.map({inner})"
        )
        assert [box for box in boxes if box > 1] == [], path


def test_the_api_documentation_is_dark_where_the_browser_is(
    page: Any, site: Site, seen: Seen
) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{site.url}/docs")

    expect(page.locator("html")).to_have_class("dark-mode")
    expect(page.locator("html")).to_have_css("background-color", "rgb(28, 32, 34)")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_class("")


def answer_check(site: Site, report: dict[str, Any]) -> None:
    """Does a worker's part of the newest live check."""
    redis = site.board._redis
    wait_until(lambda: bool(redis.zrange("polyseme:activations", 0, -1)))
    check = str(redis.zrange("polyseme:activations", -1, -1)[0])  # type: ignore[index]
    words = ["a", " river", " of", " money"]
    spans = [[0, 1], [1, 7], [7, 10], [10, 16]]
    peaks = [
        {
            "token": 1,
            "tail": "positive",
            "activation": 1.5,
            "sense": 1,
            "same": 0.82,
            "name": "river",
        },
        {
            "token": 3,
            "tail": "positive",
            "activation": 1.1,
            "sense": None,
            "same": 0.31,
            "name": None,
        },
    ]
    neuron = {
        **{n: report[n] for n in ("layer", "neuron", "hook")},
        "activations": [None, 1.5, -0.2, 1.1],
        "threshold": {"positive": 0.4, "negative": None},
        "peaks": peaks,
        "cross_activations": [],
    }
    tokens = [
        {"token": w, "token_id": i, "char_span": s, "window": 0}
        for i, (w, s) in enumerate(zip(words, spans, strict=True))
    ]
    answer = {"tokens": tokens, "neurons": [neuron], "note": None}
    site.store.write(f"{Layout.result(check)}/{ACTIVATIONS}", json.dumps(answer).encode())
    assert take_unit(site.board, check, "activate", lease_s=30) is not None
    site.board.units.finish(check, "activate")
    site.board.jobs.end(check, "succeeded")


def test_a_text_of_ones_own_is_read(page: Any, site: Site) -> None:
    report = site.polysemantic
    page.goto(f"{site.url}/ui/jobs/{site.done.id}/neurons/{report['layer']}/{report['neuron']}")
    worker = threading.Thread(target=answer_check, args=(site, report))
    worker.start()

    page.get_by_label("A text for this neuron").fill("a river of money")
    page.get_by_role("button", name="Run").click()

    rows = page.get_by_role("region", name="Peaks in your text").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Sense 2: river")
    expect(rows.nth(1)).to_contain_text("in none")
    expect(page.locator(".read .warm")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"text=a\+river\+of\+money"))
    worker.join()


def test_from_submit_to_result_with_progress_as_it_happens(
    page: Any, site: Site, seen: Seen
) -> None:
    seen.allowed = "status of 422"
    page.goto(f"{site.url}/ui/new")
    layers = page.get_by_label("Layers")
    expect(page.locator(".estimate")).to_contain_text("192 in 4 layers")

    layers.fill("0-9")
    expect(page.locator(".field.wrong .error")).to_contain_text("it has 0 to 3")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    layers.fill("0-1")
    expect(page.locator(".estimate")).to_contain_text("96 in 2 layers")
    expect(page).to_have_url(f"{site.url}/ui/new?layers=0-1")
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    expect(page.get_by_text("no worker serves the queue 'default' now")).to_be_visible()
    job = page.url.rpartition("/")[2]
    take_unit(site.board, job, "plan", lease_s=30)
    fields = {
        "tokens_total": 640,
        "shards_total": 2,
        "layers_total": 2,
        "phase": "scanning",
        "scan_began_at": "@now",
    }
    site.board.units.finish(job, "plan", fields=fields)
    time.sleep(0.2)
    site.board.units.finish(job, "scan:0", counter="shards_done", tokens=160)
    expect(page.get_by_text("Reading the text with the model")).to_be_visible()
    expect(page.locator(".progress")).to_contain_text("160 of 640")
    expect(page.locator(".fact", has_text="tokens a second").locator("dd")).not_to_have_text("–")
    expect(page.locator(".fact", has_text="time left").locator("dd")).not_to_have_text("–")
    expect(page.locator("[data-way=stream]")).to_be_visible()
    write_result(site.store, job, layers=(0, 1), contexts=18, senses=True)
    site.board.jobs.end(job, "succeeded")

    expect(page.get_by_role("heading", name="Layers")).to_be_visible()
    expect(page.locator(".layers tbody tr")).to_have_count(2)


def test_a_dictionary_is_chosen_in_place_of_units_and_layers(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/new")
    page.get_by_label("Sparse dictionary").select_option("mlp-1")

    expect(page.get_by_text("64 latents, read at blocks.1.mlp.hook_post")).to_be_visible()
    expect(page.get_by_label("Layers")).to_have_count(0)
    expect(page.get_by_label("Units", exact=True)).to_have_count(0)
    expect(page.locator(".estimate")).to_contain_text("64 in 1 layer")
    expect(page).to_have_url(f"{site.url}/ui/new?dictionary=mlp-1")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()

    job = page.url.rpartition("/")[2]
    assert site.http.get(f"/v1/jobs/{job}").json()["request"]["neurons"]["dictionary"] == ["mlp-1"]
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("It was cancelled, so there is no result.")).to_be_visible()
    page.goto(f"{site.url}/ui/jobs")
    expect(page.get_by_text("latents of mlp-1")).to_be_visible()


def test_several_dictionaries_come_with_the_address(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 422"
    page.goto(f"{site.url}/ui/new?dictionary=mlp-1,mlp-3&indices=0-9")
    expect(page.locator(".estimate")).to_contain_text("20 in 2 layers")

    page.goto(f"{site.url}/ui/new?dictionary=nothing")

    expect(page.locator(".field.wrong .error")).to_contain_text("tiny-gated has mlp-1, mlp-3")
    page.get_by_label("Sparse dictionary").select_option("")
    expect(page.locator(".estimate")).to_contain_text("192 in 4 layers")


def test_a_job_over_pasted_text_is_submitted_and_cancelled(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/new")
    page.get_by_label("Text", exact=True).select_option("~own")
    page.get_by_label("Your text").fill("The river is wide.\n\nThe bank is closed.")
    expect(page.locator(".estimate")).to_contain_text("192 in 4 layers")
    expect(page.locator(".notes")).to_contain_text("2 windows of text: every neuron will lack")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()

    page.get_by_role("button", name="Cancel the job").click()

    expect(page.get_by_text("It was cancelled, so there is no result.")).to_be_visible()
    request = site.http.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").json()["request"]
    assert site.http.get(f"/v1/corpora/{request['corpus']['id']}").json()["documents"] == 2
    assert request["contexts"]["per_document"] is None


def choose_new_corpus(page: Any, site: Site) -> Any:
    page.goto(f"{site.url}/ui/new")
    page.get_by_label("Text", exact=True).select_option("~new")
    return page.get_by_role("region", name="A new corpus")


def give_file(panel: Any, name: str, content: bytes) -> None:
    panel.get_by_label("File").set_input_files({"name": name, "mimeType": "", "buffer": content})


def test_a_file_is_uploaded_and_then_chosen(page: Any, site: Site) -> None:
    panel = choose_new_corpus(page, site)
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    texts = [f"The river is {i} feet wide." for i in [*range(40), 0]]
    lines = [json.dumps({"body": text, "lang": "en"}) for text in texts]
    body = gzip.compress("\n".join(lines).encode())

    give_file(panel, "My Notes.jsonl.gz", body)
    expect(panel.get_by_label("Name")).to_have_value("my-notes")
    panel.get_by_label("Field with the text").fill("body")
    panel.get_by_label("Field with the language").fill("lang")
    panel.get_by_role("button", name="Upload").click()

    expect(page.get_by_label("Text", exact=True)).to_have_value("my-notes")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    expect(page.locator(".added")).to_have_text(
        "40 documents uploaded as “my-notes”. Left out: 1 that were there twice."
    )
    expect(page.locator(".estimate")).to_contain_text("192 in 4 layers")
    expect(page.get_by_role("button", name="Submit")).to_be_enabled()
    corpus = site.http.get("/v1/corpora/my-notes").json()
    assert (corpus["documents"], corpus["languages"]) == (40, {"en": 40})


def test_pasted_texts_become_a_corpus(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 422"
    panel = choose_new_corpus(page, site)
    panel.get_by_label("Or pasted texts").fill(
        "\n\n".join(f"Stone {i},\nand light." for i in range(25))
    )
    panel.get_by_label("Name").fill("Not a name")
    panel.get_by_role("button", name="Upload").click()
    expect(panel.locator(".field.wrong .error")).to_contain_text("lower case letters")

    panel.get_by_label("Name").fill("stones")
    panel.get_by_role("button", name="Upload").click()

    expect(page.get_by_label("Text", exact=True)).to_have_value("stones")
    assert site.http.get("/v1/corpora/stones").json()["documents"] == 25


def test_an_upload_that_is_refused_says_what_to_do(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 4(09|22)"
    panel = choose_new_corpus(page, site)
    give_file(panel, "x.jsonl", b'{"text": "a"}\n{"b": 1}')
    panel.get_by_role("button", name="Upload").click()
    expect(panel.get_by_role("alert")).to_contain_text("line 2 has no field 'text'")
    expect(panel.get_by_role("alert")).to_contain_text("Mend the text there")

    give_file(panel, "x.txt", b"One.\nTwo.")
    panel.get_by_label("Name").fill("notes")
    panel.get_by_role("button", name="Upload").click()

    expect(panel.get_by_role("alert")).to_contain_text("the corpus 'notes' holds other content")
    expect(panel.get_by_role("alert")).to_contain_text("Choose another name.")


def test_an_upload_shows_how_far_it_is_and_can_be_stopped(page: Any, site: Site) -> None:
    held = threading.Event()
    panel = choose_new_corpus(page, site)
    page.route("**/v1/corpora?*", lambda route: held.set())  # and is never answered
    give_file(panel, "long.txt", b"A river.\n" * 1000)

    panel.get_by_role("button", name="Upload").click()
    expect(panel.get_by_role("progressbar", name="Share sent")).to_be_visible()
    panel.get_by_role("button", name="Stop").click()

    expect(panel.get_by_role("button", name="Upload")).to_be_enabled()
    expect(panel.get_by_role("alert")).to_have_count(0)
    assert held.is_set()


def end_new_job(site: Site) -> Job:
    job = open_job(site.board)
    site.board.jobs.end(job.id, "cancelled")
    return job


def test_a_job_is_deleted_from_its_page_by_keyboard(page: Any, site: Site) -> None:
    job = end_new_job(site)
    page.goto(f"{site.url}/ui/jobs/{job.id}")
    button = page.get_by_role("button", name="Delete the job")

    button.press("Enter")
    expect(page.get_by_role("dialog")).to_have_accessible_name(f"Delete job …{job.id[-8:]}?")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert site.http.get(f"/v1/jobs/{job.id}").status_code == 200
    button.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{site.url}/ui/jobs")
    assert site.http.get(f"/v1/jobs/{job.id}").status_code == 404


def test_a_job_is_deleted_from_the_list(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 409"
    job, running = end_new_job(site), open_job(site.board)
    page.goto(site.url)
    name = f"Delete job …{job.id[-8:]}"
    expect(page.get_by_role("button", name=name)).to_be_visible()
    expect(page.get_by_role("button", name=f"Delete job …{running.id[-8:]}")).to_have_count(0)

    page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Delete it").click()

    expect(page.get_by_role("status")).to_have_text(f"Job …{job.id[-8:]} is deleted.")
    expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.locator("main")).to_be_focused()
    assert site.http.get(f"/v1/jobs/{job.id}").status_code == 404
    site.board.jobs.end(running.id, "cancelled")


def test_a_job_that_cannot_be_deleted_says_why(page: Any, tmp_path: Path, seen: Seen) -> None:
    seen.allowed = "status of 40[13]"
    with running_site(tmp_path) as site:
        job = end_new_job(site)
        _, key = site.board.accounts.create_key("default", ("read",))
        page.goto(f"{site.url}/ui/sign-in")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name=f"Delete job …{job.id[-8:]}").click()

        page.get_by_role("button", name="Delete it").click()

        alert = page.get_by_role("dialog").get_by_role("alert")
        expect(alert).to_contain_text("this needs a key with the scope submit")
        expect(page.get_by_role("button", name="Delete it")).to_be_enabled()


def test_a_failed_job_says_why_and_what_to_do(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/jobs/{site.failed.id}")

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("it did not work")
    expect(alert).to_contain_text("Submit the job again once that is mended.")
    page.get_by_role("link", name="Submit it again").click()
    expect(page.get_by_role("heading", name="New analysis")).to_be_visible()


def test_what_is_not_there_says_what_to_do(page: Any, site: Site, seen: Seen) -> None:
    seen.allowed = "status of 404"
    page.goto(f"{site.url}/ui/jobs/job_{'0' * 28}")
    expect(page.get_by_role("alert")).to_contain_text(
        "It may have been deleted, or it belongs to another tenant."
    )

    page.goto(f"{site.url}/ui/elsewhere")
    expect(page.get_by_role("heading", name="Nothing is here")).to_be_visible()


def test_the_page_for_newcomers_explains_with_three_neurons(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/ui/about?job={site.done.id}")

    expect(page.locator(".example .card")).to_have_count(1 + 3)
    for status in ("monosemantic", "polysemantic", "described"):
        expect(page.locator(f".example .status.{status}")).to_have_count(1)


def test_the_page_for_newcomers_shows_a_neuron_and_a_cross_activation_before_any_job_has_run(
    page: Any, tmp_path: Path
) -> None:
    example = json.loads(Path("service/dashboard/src/example.json").read_text(encoding="utf-8"))
    with running_site(tmp_path) as site:
        for job in (site.done, site.other):
            site.http.delete(f"/v1/jobs/{job.id}").raise_for_status()
        page.goto(f"{site.url}/ui/about")

        expect(page.get_by_role("link", name="Start an analysis")).to_be_visible()
        expect(page.locator(".example .meaning")).to_have_text(example["meaning"])
        for group, texts in enumerate(example["texts"].values()):
            shown = page.locator(".checked").nth(group).locator("li")
            expect(shown).to_have_count(len(texts))
            for text, item in zip(texts, shown.all(), strict=True):
                expect(item.locator(".shaded")).to_have_text(text["text"])
                expect(item.locator(".which[class*=sense-]")).to_have_count(len(text["peaks"]))
        for text in example["texts"]["both"]:
            assert len({p["sense"] for p in text["peaks"]}) == 2
            assert text["cross_activations"]


def test_who_finds_no_place_for_a_stream_polls(page: Any, tmp_path: Path, seen: Seen) -> None:
    seen.allowed = "status of 503"
    with running_site(tmp_path, api_threads=2) as site:
        job, other = open_job(site.board), open_job(site.board)
        with site.http.stream("GET", f"/v1/jobs/{other.id}/events"):
            page.goto(f"{site.url}/ui/jobs/{job.id}")
            expect(page.locator("[data-way=poll]")).to_be_visible()
            site.board.jobs.end(job.id, "failed", {"code": "empty_corpus", "detail": "no text"})
            expect(page.get_by_role("alert")).to_contain_text("Choose a corpus with more text")


def test_a_page_that_nobody_sees_holds_no_stream(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.2)
    with running_site(tmp_path, api_threads=2) as site:
        job = open_job(site.board)
        path = f"/v1/jobs/{job.id}/events"
        page.goto(f"{site.url}/ui/jobs/{job.id}")
        expect(page.locator("[data-way=stream]")).to_be_visible()
        held = site.http.head(path).status_code

        page.evaluate(SHOW, False)
        wait_until(lambda: site.http.head(path).status_code == 200)
        site.board.jobs.end(job.id, "failed", {"code": "empty_corpus", "detail": "no text"})
        page.evaluate(SHOW, True)

        assert held == 503
        expect(page.get_by_role("alert")).to_contain_text("no text")


def test_with_keys_one_signs_in_and_the_key_stays_in_the_tab(
    page: Any, tmp_path: Path, seen: Seen
) -> None:
    seen.allowed = "status of 401"
    with running_site(tmp_path) as site:
        _, key = site.board.accounts.create_key("default", ("admin",))
        job = open_job(site.board)
        page.goto(f"{site.url}/ui/jobs/{job.id}")
        expect(page.get_by_role("alert")).to_contain_text("Sign in with an API key that holds.")

        page.get_by_role("alert").get_by_role("link", name="Sign in").click()
        page.get_by_label("API key").fill("psk_" + "x" * 43)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{site.url}/ui/jobs/{job.id}")
        site.board.jobs.set_phase(job.id, "planning")
        expect(page.locator("[data-way=stream]")).to_be_visible()

        assert page.evaluate("JSON.stringify({...sessionStorage})").count(key) == 1
        assert key not in page.evaluate(
            "JSON.stringify({...localStorage}) + document.cookie + location.href"
        )
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("alert")).to_be_visible()


HEAD = '<!doctype html><html lang="en"><title>Notes</title><link rel="icon" href="data:,">'
HOST_PAGE = """{head}<h1>My notes</h1>
<script type="module" src="{site}/static/polyseme-neuron.js"></script>
<script type="module">
  const shown = document.createElement("polyseme-neuron");
  shown.setAttribute("src", "{site}/v1/jobs/{job}/neurons/{layer}/{neuron}");
  shown.apiKey = "{key}";
  document.body.append(shown);
</script></html>"""


@contextmanager
def other_site() -> Iterator[tuple[str, dict[str, str]]]:
    """A page of another origin, whose text may be put in place."""
    pages = {"/": ""}
    app = Flask("host")
    app.add_url_rule("/", view_func=lambda: pages["/"])
    with serving(app) as client:
        yield str(client.base_url).rstrip("/"), pages


def test_an_allowed_page_shows_a_neuron_as_high_as_it_is(
    page: Any, tmp_path: Path, seen: Seen
) -> None:
    seen.allowed = "status of 401"  # where the page is slow to give its key
    with other_site() as (origin, pages), running_site(tmp_path, embed_origins=origin) as site:
        report = site.polysemantic
        _, key = site.board.accounts.create_key("default", ("read",))
        place = {n: report[n] for n in ("job", "layer", "neuron")}
        pages["/"] = HOST_PAGE.format(head=HEAD, site=site.url, key=key, **place)

        page.goto(origin)

        frame = page.frame_locator("polyseme-neuron iframe")
        expect(frame.get_by_role("heading", level=1)).to_have_text(
            report["meaning"].replace(" %", "\u00a0%")
        )
        expect(frame.locator(".card")).to_have_count(len(report["senses"]))
        inner = frame.locator("html").evaluate("e => e.offsetHeight")
        expect(page.locator("iframe")).to_have_css("height", f"{inner}px")


ASK = """async ([url, key]) => {
    const headers = { Authorization: `Bearer ${key}` };
    const first = await fetch(url, { headers });
    const tag = first.headers.get("ETag");
    const again = await fetch(url, { headers: { ...headers, "If-None-Match": tag } });
    return [first.status, (await first.json()).id, tag, again.status];
}"""


def test_a_script_of_an_allowed_page_asks_the_api(page: Any, tmp_path: Path, seen: Seen) -> None:
    seen.allowed = "favicon|status of 404"
    with other_site() as (origin, pages), running_site(tmp_path, cors_origins=origin) as site:
        _, key = site.board.accounts.create_key("default", ("read",))
        pages["/"] = "<!doctype html><title>An app</title>"
        page.goto(origin)

        found = page.evaluate(ASK, [f"{site.url}/v1/jobs/{site.done.id}", key])

        assert found[:2] == [200, site.done.id]
        assert (found[2][:3], found[3]) == ('W/"', 304)


def test_another_page_shows_none(page: Any, tmp_path: Path, seen: Seen) -> None:
    seen.allowed = "frame-ancestors|blocked by CORS|ERR_FAILED|ERR_BLOCKED"
    with other_site() as (origin, pages), running_site(tmp_path) as site:
        path = site.polysemantic["links"]["self"].replace("/v1/", "/embed/")
        pages["/"] = f'{HEAD}<iframe src="{site.url}{path}"></iframe></html>'

        page.goto(origin)
        page.wait_for_timeout(300)

        assert [e for e in seen.errors if "frame-ancestors" in e]
        assert page.frame_locator("iframe").locator("#embed").count() == 0


def test_it_is_walked_through_by_keyboard(page: Any, site: Site) -> None:
    page.goto(site.url)
    expect(page.locator("table.jobs")).to_be_visible()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("link", name=f"…{site.done.id[-8:]}").press("Enter")
    expect(page.get_by_role("heading", name="Layers")).to_be_visible()
    expect(page.locator("main")).to_be_focused()


LOADED = (
    "document.querySelector('main h1') && !document.querySelector('main .waiting, main "
    "[aria-busy=true]')"
)
# What sticks out of the page, though it is in nothing that scrolls.
WIDER = """width => document.documentElement.scrollWidth <= width ? [] :
    [...document.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > width && !e.closest(".scroll, .window"))
    .map(e => e.outerHTML).concat(document.documentElement.scrollWidth)"""
VIEWS: dict[str, Callable[[Site], str]] = {
    "jobs": lambda s: "/",
    "new": lambda s: "/ui/new",
    "upload": lambda s: "/ui/new?corpus=~new",
    "about": lambda s: f"/ui/about?job={s.done.id}",
    "sign-in": lambda s: "/ui/sign-in",
    "result": lambda s: f"/ui/jobs/{s.done.id}",
    "choosing": lambda s: f"/ui/jobs/{s.done.id}/beside",
    "beside": lambda s: f"/ui/jobs/{s.done.id}/beside?other={s.other.id}",
    "failed": lambda s: f"/ui/jobs/{s.failed.id}",
    "deleting": lambda s: f"/ui/jobs/{s.failed.id}",
    "neurons": lambda s: f"/ui/jobs/{s.done.id}/neurons?status=polysemantic&sort=-max",
    "neuron": lambda s: s.polysemantic["links"]["self"].replace("/v1/", "/ui/"),
    "embed": lambda s: s.polysemantic["links"]["self"].replace("/v1/", "/embed/"),
    "preview": lambda s: s.polysemantic["links"]["self"].replace("/v1/", "/ui/") + "?same_at=0.05",
}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    browser: Any, site: Site, scheme: str, width: int, subtests: pytest.Subtests
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page, script = context.new_page(), AXE.read_text(encoding="utf-8")
    for view, path in VIEWS.items():
        with subtests.test(view):
            page.goto(site.url + path(site))
            page.wait_for_function(LOADED)
            if view == "deleting":
                page.get_by_role("button", name="Delete the job").click()
            page.evaluate(script)

            found = page.evaluate("axe.run()")

            assert found["passes"]
            serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
            assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious] == []
            assert page.evaluate(WIDER, width) == []
    context.close()
