"""How soon a neuron's page shows its sentence and its senses, in a real browser; and a picture of
such a page.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.markdown import quantile, table
from polyseme import Polyseme
from polyseme.errors import CommandError
from polyseme.reports import NeuronRow

# The demo shows these first, too.
FIRST: dict[str, str | float] = {
    "status": "polysemantic",
    "min_coverage": 0.8,
    "sort": "-selectivity",
}
# Milliseconds from the start of the navigation to the frame that shows them.
DRAWN = """
new MutationObserver((_, watch) => {
  if (!document.querySelector(".meaning") || !document.querySelector(".senses .card")) return;
  watch.disconnect();
  const note = () => (document.documentElement.dataset.drawn = performance.now());
  requestAnimationFrame(() => setTimeout(note));
}).observe(document, {childList: true, subtree: true});
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running service")
    parser.add_argument("--job", required=True, help="a finished job with senses")
    parser.add_argument(
        "--loads", type=int, default=15, help="each in a browser profile of its own"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        help="where to write a picture of the first neuron's page",
    )


def run(options: argparse.Namespace) -> str:
    with Polyseme(options.url) as client, running_chromium() as browser:
        rows = client.neurons(options.job, **FIRST).first(options.loads)
        if not rows:
            raise CommandError(f"{options.job} has no polysemantic neuron")
        times = [load_page(browser, _address(options, row)) for row in rows]
        if options.picture:
            take_picture(browser, _address(options, rows[0]), options.picture)
    shares = (0.0, 0.5, 1.0)
    head = ["", "loads", "the first, ms", "min, ms", "median, ms", "max, ms"]
    figures = [f"{t:.0f}" for t in (times[0], *(quantile(times, share) for share in shares))]
    return (
        f"## A neuron's "
        f"page\n\n{table(head, [['another neuron each time', str(len(times)), *figures]])}"
    )


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Raises CommandError where there is none."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise CommandError("no Chromium was found: install one, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def find_chromium() -> str | None:
    given = os.environ.get("CHROMIUM")
    return given or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


def load_page(browser: Any, url: str) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(DRAWN)
    page = context.new_page()
    page.goto(url)
    drawn_ms = page.locator("html[data-drawn]").get_attribute("data-drawn")
    context.close()
    return float(drawn_ms)


def take_picture(browser: Any, url: str, path: Path) -> None:
    context = browser.new_context(viewport={"width": 1180, "height": 1100}, color_scheme="light")
    page = context.new_page()
    page.goto(url)
    page.locator(".cut").wait_for()
    page.screenshot(path=path)
    context.close()


def _address(options: argparse.Namespace, row: NeuronRow) -> str:
    return f"{options.url}/ui/jobs/{options.job}/neurons/{row.layer}/{row.neuron}"
