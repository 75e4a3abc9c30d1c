"""Jobs over a dictionary of the catalogue, with a real worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from polyseme.contract.files.results import MANIFEST, SUMMARY, report_file
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from tests.journeys.conftest import MODEL
from tests.journeys.site import Site, await_that, running_site
from tests.nursery import Nursery
from tests.tiny_models import HIDDEN
from tests.workers.analysis.dictionaries.builders import write_saelens

LAYERS, LATENTS = 3, 40
NEURONS = {"site": "dictionary", "dictionary": ["post-1"], "layers": "1"}


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("dictionaries") / "data"
    with running_site(nursery, data, layers=LAYERS) as found:
        add_dictionary(found)
        found.start_worker()
        yield found


def add_dictionary(site: Site) -> None:
    draw = torch.Generator().manual_seed(3)
    tensors = {
        "W_enc": torch.randn(HIDDEN, LATENTS, generator=draw),
        "b_enc": torch.zeros(LATENTS),
        "W_dec": torch.randn(LATENTS, HIDDEN, generator=draw),
        "b_dec": torch.zeros(HIDDEN),
    }
    folder = site.data / "post-1"
    write_saelens(
        folder,
        tensors,
        metadata={"hook_name": "blocks.1.hook_resid_post"},
        architecture="topk",
        k=3,
        rescale_acts_by_decoder_norm=False,
        d_in=HIDDEN,
        d_sae=LATENTS,
    )
    with open(site.settings.catalogue, "a", encoding="utf-8") as catalogue:
        entry = {"id": "post-1", "model": MODEL, "path": str(folder)}
        catalogue.write("\n[[dictionaries]]\n")
        catalogue.writelines(f"{name} = {json.dumps(value)}\n" for name, value in entry.items())


def run(site: Site, **changes: Any) -> Job:
    ended = site.wait(site.submit(neurons=NEURONS, **changes))
    assert ended.status == "succeeded", (ended.error, site.logs())
    return ended


@pytest.fixture(scope="module")
def first(site: Site) -> Job:
    return run(site, reuse=True)


def read(site: Site, job: Job, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(site.store.read(f"{Layout.result(job.id)}/{name}"))
    return content


def test_a_worker_says_which_dictionaries_it_has(site: Site, first: Job) -> None:
    card = site.board.registry.get_dictionary("post-1")

    assert card is not None
    assert (card.error, card.latents, card.hook) == (None, LATENTS, "blocks.1.hook_resid_post")


def test_its_result_is_of_latents(site: Site, first: Job) -> None:
    manifest, summary = read(site, first, MANIFEST), read(site, first, SUMMARY)

    assert manifest["site"]["units"] == summary["neurons"] == LATENTS
    assert manifest["dictionaries"][0]["id"] == "post-1"
    assert summary["layers"][0]["dictionary"]["l0"] == pytest.approx(3, abs=0.2)


def test_the_same_again_is_taken_over_with_how_it_fits(site: Site, first: Job) -> None:
    again = run(site, reuse=True)

    assert again.reused == {first.id: (1,)}
    assert read(site, again, SUMMARY) == read(site, first, SUMMARY)
    manifests = [read(site, job, MANIFEST)["dictionaries"] for job in (first, again)]
    assert manifests[0] == manifests[1]


def test_other_groups_are_made_without_the_dictionary(site: Site, first: Job) -> None:
    other = run(site, source_job=first.id, senses={"same_at": 0.1})

    assert (
        read(site, other, MANIFEST)["dictionaries"] == read(site, first, MANIFEST)["dictionaries"]
    )
    assert site.store.exists(f"{Layout.result(other.id)}/{report_file(1)}")
    await_that(lambda: site.is_clean(other.id), 10)


def test_a_dictionary_that_a_worker_has_not_fails_the_job_with_its_name(site: Site) -> None:
    ended = site.wait(site.submit(neurons=NEURONS | {"dictionary": ["gone"]}))

    assert ended.status == "failed"
    assert ended.error is not None
    assert "dictionary 'gone' is not in this worker's catalogue" in ended.error["detail"]
