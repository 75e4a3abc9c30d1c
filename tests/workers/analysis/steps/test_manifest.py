"""The address of a scan changes with all that decides its result, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polyseme.contract.files.store import Store
from polyseme.contract.records.request import AnalysisRequest, Neurons
from polyseme.workers.analysis.models.compiled import Relay
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.table import SITES
from polyseme.workers.analysis.steps import manifest
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.manifest import describe_analysis, scan_address
from polyseme.workers.analysis.steps.word_encoder import choose_encoder
from tests.factories import make_corpus
from tests.tiny_models import load_tiny

PLAN: dict[str, Any] = {
    "documents": 30,
    "windows": 60,
    "tokens": 640,
    "counted_tokens": 640,
    "padding": 0,
}

# Another value of each field of a request that decides what is found in a layer. Those that do not
# are below.
DECIDING = {
    "neurons.site": "attention",
    "neurons.indices": (1, 2),
    "contexts.top_k": 7,
    "contexts.sampled": 5,
    "contexts.sampling": "quantile",
    "contexts.bands": 4,
    "contexts.shown": 3,
    "contexts.window": 64,
    "contexts.packing": "concat",
    "contexts.per_document": None,
    "contexts.tails": "both",
    "contexts.near_duplicates": "keep",
    "contexts.display_tokens": 9,
    "tokens.bos": "never",
    "tokens.exclude_special": False,
    "tokens.exclude_positions": 1,
    "tokens.max_tokens": 100,
    "senses.enabled": False,
}
NOT_DECIDING = {
    "model": "another-name",  # its weights decide
    "corpus": "another-name",  # its content decides
    "neurons.layers": (1,),
    "neurons.vectors": "vec_of_old",  # their content decides
    "neurons.dictionary": ("another-name",),
    "senses.same_at": 0.6,
    "senses.min_contexts": 9,
    "senses.vectors": "window",
    "source_job": "job_of_old",
    "reuse": False,
    "priority": "high",
    "deadline_s": 60.0,
    "webhook": "https://example.org",
    "metadata": {"a": "b"},
}

# What a manifest says beyond the request, likewise.
DECIDING_FACTS = {
    "format",
    "model.family",
    "model.config_sha256",
    "model.weights_sha256",
    "model.tokenizer_sha256",
    "corpus.sha256",
    "neurons_per_layer",
    "block_tokens",
    "controls",
    "dtype",
    "device",
    "compiled",
    "device_name",
    "versions",
}
OTHER_FACTS = {
    "model.id",
    "model.source",
    "corpus.id",
    "corpus.documents",  # these follow from its content, or from what was left out of it
    "corpus.characters",
    "corpus.longest_characters",
    "corpus.utf8_bytes",
    "corpus.duplicates_dropped",
    "corpus.bad_lines_skipped",
    "corpus.empty_dropped",
    "request",  # above
    "site",  # follows from the request and the model, or what the job brings
    "layers",
    "plan",  # follows from the corpus and the request
    "blocks_in_parts",  # a result with such blocks is not found by its address
    "dictionaries",  # what decides of them joins the address
    "senses",  # made anew where they differ
    "scan_address",
    "reused",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def other_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SITES, "attention", replace(SITES["mlp"], name="attention"))


@pytest.fixture
def analysis(model: LoadedModel, tmp_path: Path) -> Analysis:
    request = AnalysisRequest(model.card.id, "notes", Neurons(layers=(0,)))
    return Analysis(
        request,
        make_corpus(),
        model.card,
        Store(str(tmp_path)),
        "work",
        "result",
        "lens",
        1024,
        1500,
    )


def leaves(record: Any, prefix: str = "") -> Iterator[str]:
    for field in fields(record):
        value = getattr(record, field.name)
        yield from (
            leaves(value, f"{prefix}{field.name}.")
            if is_dataclass(value)
            else [prefix + field.name]
        )


def change(record: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    return replace(
        record, **{first: change(getattr(record, first), rest, value) if rest else value}
    )


def test_every_field_of_a_request_is_known_to_decide_or_not_to() -> None:
    assert set(leaves(AnalysisRequest("m", "c"))) == set(DECIDING) | set(NOT_DECIDING)


@pytest.mark.parametrize("path", DECIDING)
def test_what_decides_a_scan_changes_its_address(
    analysis: Analysis, model: LoadedModel, path: str
) -> None:
    sites = (*analysis.card.sites, replace(analysis.card.sites[0], site="attention"))
    here = replace(analysis, card=replace(analysis.card, sites=sites))
    other = replace(here, request=change(here.request, path, DECIDING[path]))

    assert other.request != here.request
    assert scan_address(other, model) != scan_address(here, model)


@pytest.mark.parametrize("path", NOT_DECIDING)
def test_what_does_not_decide_a_scan_leaves_its_address(
    analysis: Analysis, model: LoadedModel, path: str
) -> None:
    other = replace(analysis, request=change(analysis.request, path, NOT_DECIDING[path]))

    assert other.request != analysis.request
    assert scan_address(other, model) == scan_address(analysis, model)


def test_neurons_named_one_by_one_are_the_same_as_all(
    analysis: Analysis, model: LoadedModel
) -> None:
    every = replace(
        analysis,
        request=change(analysis.request, "neurons.indices", tuple(range(model.card.neurons))),
    )

    assert scan_address(every, model) == scan_address(analysis, model)


def test_the_content_of_units_that_a_job_brings_changes_the_address(
    analysis: Analysis, model: LoadedModel
) -> None:
    one, other = (replace(SITES["mlp"], sha256=digest) for digest in ("1" * 64, "2" * 64))
    addresses = {
        scan_address(replace(analysis, own_site=site), model) for site in (None, one, other)
    }

    assert len(addresses) == 3


def facts(described: dict[str, Any]) -> set[str]:
    nested = {f"{name}.{key}" for name in ("model", "corpus") for key in described[name]}
    return nested | set(described) - {"model", "corpus"}


def test_every_fact_of_a_manifest_is_known_to_decide_or_not_to(
    analysis: Analysis, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "_count_cut", lambda analysis: 0)
    choose_encoder(analysis)

    assert facts(describe_analysis(analysis, model, PLAN)) == DECIDING_FACTS | OTHER_FACTS


def test_the_facts_that_decide_change_the_address(
    analysis: Analysis, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = manifest._describe_machine
    models = {
        "model.config_sha256": replace(model, config_sha256="0"),
        "model.weights_sha256": replace(model, weights_sha256="0"),
        "model.tokenizer_sha256": replace(model, tokenizer_sha256="0"),
        "dtype": replace(model, dtype=torch.bfloat16),
        "device": replace(model, device=torch.device("meta")),
        "compiled": replace(model, relay=Relay([])),
    }
    analyses = {
        "model.family": replace(analysis, card=replace(analysis.card, family="other")),
        "corpus.sha256": replace(analysis, corpus=make_corpus(sha256="1" * 64)),
        "neurons_per_layer": replace(
            analysis, request=change(analysis.request, "neurons.indices", (0,))
        ),
        "block_tokens": replace(analysis, block_tokens=512),
    }
    found = {name: scan_address(analysis, other) for name, other in models.items()}
    found |= {name: scan_address(other, model) for name, other in analyses.items()}
    for name in ("device_name", "versions"):
        with monkeypatch.context() as patch:
            patch.setattr(
                manifest, "_describe_machine", lambda m, name=name: machine(m) | {name: "other"}
            )
            found[name] = scan_address(analysis, model)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 0)
        found["format"] = scan_address(analysis, model)

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "SEED", 0)
        found["controls"] = scan_address(analysis, model)

    assert set(found) == DECIDING_FACTS
    assert scan_address(analysis, model) not in found.values()
    assert len(set(found.values())) == len(found)


def test_facts_that_do_not_decide_leave_the_address(analysis: Analysis, model: LoadedModel) -> None:
    corpus = make_corpus(
        id="other", documents=1, characters=1, utf8_bytes=1, duplicates_dropped=1, empty_dropped=1
    )
    card = replace(analysis.card, id="other", source="path:/other")
    other = replace(analysis, corpus=corpus, card=card, shard_tokens=9, reused={"job_a": (0,)})

    assert scan_address(other, model) == scan_address(analysis, model)


def test_an_address_is_the_same_in_another_process(analysis: Analysis, model: LoadedModel) -> None:
    again = replace(
        analysis,
        request=AnalysisRequest.from_dict(json.loads(json.dumps(analysis.request.to_dict()))),
    )

    assert scan_address(again, model) == scan_address(analysis, model)
