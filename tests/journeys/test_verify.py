"""`polyseme verify` on results of real workers: what is damaged is listed, and made again with the
same bytes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout
from tests.client.standins import run_polyseme
from tests.factories import add_corpus, make_texts
from tests.journeys.site import Site, running_site
from tests.nursery import Nursery
from tests.store_faults import DAMAGES, replace, truncate


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(nursery, tmp_path_factory.mktemp("verify") / "data") as found:
        found.start_worker()
        yield found


@pytest.fixture(scope="module")
def job(site: Site) -> str:
    ended = site.submit(reuse=True)
    site.run_quietly(ended)
    return ended


@pytest.fixture(scope="module")
def quiet(site: Site, job: str) -> dict[str, str]:
    return site.digests(job)


def verify(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = ["--redis-url", site.server.url, "--store", site.settings.store]
    return run_polyseme(["verify", *arguments, *places], site.data)


def read_lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def path_of(site: Site, job: str, name: str) -> Path:
    return Path(site.store.local_path(f"{Layout.result(job)}/{name}"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_is_made_again_with_the_same_bytes(
    site: Site, job: str, quiet: dict[str, str], damage: Callable[[Path], None]
) -> None:
    names = sorted(quiet.keys() - {MANIFEST})
    for name in names:
        damage(path_of(site, job, name))

    found = verify(site, job, "--json")
    repaired = verify(site, job, "--repair", "--json")

    assert (found.returncode, repaired.returncode) == (1, 0), repaired.stderr
    assert list(read_lines(found)[0]["damage"]) == names
    assert read_lines(repaired)[0]["whole"]
    assert site.digests(job) == quiet
    assert site.store.names("results") == [job]
    assert list(site.board.jobs.newest_first()) == [site.job(job)]


def test_all_results_are_looked_at(site: Site, job: str, quiet: dict[str, str]) -> None:
    path_of(site, job, "reports/layer-001.parquet").unlink()

    done = verify(site, "--all", "--repair")

    assert done.stdout.splitlines()[-1] == f"{job}  made again"
    assert site.digests(job) == quiet


def test_what_cannot_be_made_again_is_refused_by_name(
    site: Site, job: str, quiet: dict[str, str]
) -> None:
    report = path_of(site, job, "reports/layer-001.parquet")
    content = report.read_bytes()
    truncate(report)

    site.board.registry.delete_corpus("notes")
    no_corpus = verify(site, job, "--repair")
    add_corpus(site.board, site.store, make_texts(100, seed=2))
    other_texts = verify(site, job, "--repair")
    site.board.registry.delete_corpus("notes")
    add_corpus(site.board, site.store, make_texts(100, seed=1))
    replace(report, content)

    assert (other_texts.returncode, no_corpus.returncode) == (1, 1)
    assert "the corpus 'notes' has other texts now" in other_texts.stdout
    assert "its corpus 'notes' was deleted" in no_corpus.stdout
    assert verify(site, job).returncode == 0
    assert site.digests(job) == quiet


def test_a_damaged_manifest_is_said_to_be(site: Site, job: str) -> None:
    manifest = path_of(site, job, MANIFEST)
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b'"format"', b'"formal"'))

    done = verify(site, job, "--repair")
    manifest.write_bytes(content)

    assert done.returncode == 1
    assert f"{job}  manifest.json: " in done.stdout
    assert "not made again: its manifest is damaged" in done.stdout


def test_what_is_asked_must_be_clear(site: Site, job: str) -> None:
    assert verify(site).returncode == 2
    assert verify(site, job, "--all").returncode == 2
    assert verify(site, "job_" + "0" * 28).returncode == 5
