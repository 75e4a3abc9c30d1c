"""Jobs over uploaded directions: from the upload to the result, by a service and a worker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flask.testing import FlaskClient

from polyseme.contract.board.board import Board
from polyseme.contract.files.results import MANIFEST
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.records.job import ACTIVATIONS, Job
from polyseme.contract.settings import Settings
from polyseme.service.app import create_app
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.sites.table import SITES
from polyseme.workers.units import Runner
from tests.factories import add_corpus, make_texts
from tests.tiny_models import HIDDEN, NEURONS
from tests.workers.test_units import read_result, run_what_is_due

MODEL = "tiny-llama"
CONTEXTS = {"window": 32, "top_k": 8, "tails": "both"}
WIDTHS = {"mlp": NEURONS}


class Bench:
    """A service and a worker of one board and one store."""

    def __init__(self, board: Board, store: Store, runner: Runner, http: FlaskClient) -> None:
        self.board, self.store, self.runner, self.http = board, store, runner, http

    def add(self, vectors: Any, site: str = "resid_post", layer: int = 1, **more: Any) -> str:
        sent = {
            "model": MODEL,
            "site": site,
            "layer": layer,
            "vectors": np.asarray(vectors).tolist(),
        }
        answer = self.http.post("/v1/vectors", json=sent | more)
        assert answer.status_code in (200, 201), answer.get_json()
        return str(answer.get_json()["id"])

    def submit(self, neurons: Mapping[str, Any], **changes: Any) -> str:
        sent = {"model": MODEL, "corpus": {"id": "notes"}, "contexts": CONTEXTS, "neurons": neurons}
        answer = self.http.post("/v1/jobs", json=sent | changes)
        assert answer.status_code == 202, answer.get_json()
        return str(answer.get_json()["id"])

    def find(self, job: str) -> Job:
        found = self.board.jobs.get(job)
        assert found is not None
        return found

    def make(self, neurons: Mapping[str, Any], **changes: Any) -> str:
        return self.run(self.submit(neurons, **changes))

    def run(self, job: str) -> str:
        run_what_is_due(self.board, self.runner, job)
        found = self.find(job)
        assert (found.status, found.error) == ("succeeded", None)
        return job

    def files(self, job: str) -> dict[str, bytes]:
        return {n: c for n, c in read_result(self.store, job).items() if n != MANIFEST}

    def manifest(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(read_result(self.store, job)[MANIFEST])
        return found

    def report(self, job: str, neuron: int, layer: int = 1) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{job}/neurons/{layer}/{neuron}").get_json()
        return found

    def check(self, job: str, text: str, neurons: Sequence[int]) -> Job:
        targets = [{"layer": 1, "neuron": n} for n in neurons]
        sent = {"job": job, "text": text, "neurons": targets}
        name = self.http.post("/v1/activations", json=sent).get_json()["id"]
        run_what_is_due(self.board, self.runner, name)
        return self.find(name)

    def model(self) -> LoadedModel:
        return self.runner.shelf.get(self.runner.catalogue[MODEL])

    def values(self, text_ids: torch.Tensor, site: str, layer: int) -> np.ndarray:
        """What stands at a site, (S, W)."""
        model = self.model()
        found: list[torch.Tensor] = []
        points = SITES[site].points(model.parts, [layer])
        run_block(model, text_ids[None], None, points, lambda _, x: found.append(x[0].clone()))
        values: np.ndarray = found[0].double().numpy()
        return values


@pytest.fixture
def bench(board: Board, store: Store, runner: Runner, redis_url: str, tmp_path: Path) -> Bench:
    add_corpus(board, store)
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(f'[[models]]\nid = "{MODEL}"\npath = "model"\n')
    settings = Settings(
        redis_url=redis_url,
        store=str(tmp_path / "store"),
        catalogue=str(catalogue),
        cache=str(tmp_path / "cache"),
    )
    return Bench(board, store, runner, create_app(settings).test_client())


def directions(count: int, width: int = HIDDEN, seed: int = 0) -> np.ndarray:
    found: np.ndarray = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return found


@pytest.mark.parametrize("site", ["resid_post", "z", "mlp"])
def test_the_units_of_a_site_as_vectors_give_that_sites_result_byte_for_byte(
    bench: Bench, site: str
) -> None:
    own = bench.make({"site": site, "layers": [1]})

    name = bench.add(np.eye(WIDTHS.get(site, HIDDEN)), site)
    ours = bench.make({"vectors": name})

    assert bench.files(ours) == bench.files(own)
    assert "reports/layer-001.parquet" in bench.files(ours)
    wanted, found = bench.manifest(own), bench.manifest(ours)
    assert found["request"]["neurons"] == {
        "site": "vectors",
        "layers": [1],
        "indices": "all",
        "vectors": name,
        "dictionary": None,
    }
    assert found["site"]["hook"] == wanted["site"]["hook"]
    others = {"request", "site", "scan_address", "controls", "seal"}
    assert {n: v for n, v in found.items() if n not in others} == {
        n: v for n, v in wanted.items() if n not in others
    }


def test_activations_are_products_and_a_bias(bench: Bench) -> None:
    vectors, bias = directions(5) * 3, [0.0, 1.0, -2.0, 0.5, 100.0]
    job = bench.make({"vectors": bench.add(vectors, "mlp_out", bias=bias)})

    answer = check_answer(bench, bench.check(job, "the river and the bank of the river", range(5)))

    ids = torch.tensor([t["token_id"] for t in answer["tokens"]])
    wanted = bench.values(ids, "mlp_out", 1) @ vectors.astype(np.float64).T + bias
    for neuron, column in zip(answer["neurons"], wanted.T, strict=True):
        assert neuron["hook"] == "blocks.1.hook_mlp_out"
        counted = [
            (a, w) for a, w in zip(neuron["activations"], column, strict=True) if a is not None
        ]
        assert counted
        assert np.allclose(*np.array(counted).T, rtol=1e-5, atol=1e-6)


def check_answer(bench: Bench, check: Job) -> dict[str, Any]:
    assert (check.status, check.error) == ("succeeded", None)
    path = f"{Layout.result(check.id)}/{ACTIVATIONS}"
    found: dict[str, Any] = json.loads(bench.store.read(path))
    return found


def test_some_of_a_sets_vectors_have_the_reports_that_they_have_among_all(bench: Bench) -> None:
    name = bench.add(directions(6), bias=[0.1 * i for i in range(6)])
    whole = bench.make({"vectors": name})
    part = bench.make({"vectors": name, "indices": [1, 4]})

    assert [row["neuron"] for row in rows(bench, part)] == [1, 4]
    for neuron in (1, 4):
        found, wanted = (bench.report(job, neuron) for job in (part, whole))
        for report in (found, wanted):  # what others there are decides these
            report.pop("job", None)
            report.pop("links", None)
        assert found == wanted


def rows(bench: Bench, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.http.get(f"/v1/jobs/{job}/neurons").get_json()["data"]
    return found


def test_control_units_are_as_long_as_the_vectors_and_have_their_biases(bench: Bench) -> None:
    plain = bench.make({"vectors": bench.add(np.eye(HIDDEN)[:2])})
    vectors, bias = np.eye(HIDDEN)[:2] * [[2.0], [4.0]], [0.0, 8.0]
    scaled = bench.make({"vectors": bench.add(vectors, bias=bias)})

    before, after = (
        bench.http.get(f"/v1/jobs/{job}/controls?limit=1000").get_json()["data"]
        for job in (plain, scaled)
    )

    assert len(before) == len(after) > 100
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        by, more = (2.0, 0.0) if number % 2 == 0 else (4.0, 8.0)
        assert other["max"] == pytest.approx(one["max"] * by + more, rel=1e-5)


def test_a_second_job_over_the_same_numbers_scans_nothing(bench: Bench) -> None:
    first = bench.make({"vectors": bench.add(directions(4))})

    same = bench.make({"vectors": bench.add(directions(4), labels=list("abcd"))})
    others = [
        bench.make({"vectors": bench.add(directions(4, seed=1))}),
        bench.make({"vectors": bench.add(directions(4), bias=[0, 0, 0, 1])}),
        bench.make({"vectors": bench.add(directions(4), layer=2)}),
        bench.make({"vectors": bench.add(directions(4), site="resid_pre")}),
    ]

    assert bench.find(same).reused == {first: (1,)}
    assert bench.files(same) == bench.files(first)
    assert [bench.find(job).reused for job in others] == [{}] * 4


def test_the_lens_of_one_set_is_not_anothers(bench: Bench) -> None:
    one, other = (bench.make({"vectors": bench.add(directions(2, seed=i))}) for i in range(2))

    assert bench.report(one, 0)["logits"] != bench.report(other, 0)["logits"]
    assert bench.report(one, 0)["site"] == "vectors"
    assert not any("vectors" in name for name in bench.store.file_sizes(Layout.LENS))


def test_senses_are_made_anew_though_the_set_is_gone(bench: Bench) -> None:
    name = bench.add(directions(4))
    source = bench.make({"vectors": name})
    wanted = bench.make({"vectors": name}, senses={"same_at": 0.6}, reuse=False)
    assert bench.http.delete(f"/v1/vectors/{name}").status_code == 204

    answer = bench.http.post(f"/v1/jobs/{source}/senses", json={"same_at": 0.6})
    made = bench.run(answer.get_json()["id"])

    assert bench.files(made) == bench.files(wanted)
    assert bench.manifest(made)["controls"] == bench.manifest(wanted)["controls"] is not None


def test_a_live_check_of_a_set_that_is_gone_says_so(bench: Bench) -> None:
    name = bench.add(directions(4))
    job = bench.make({"vectors": name})
    assert bench.check(job, "the river", [0]).status == "succeeded"
    bench.http.delete(f"/v1/vectors/{name}")

    check = bench.check(job, "the river", [0])

    assert check.status == "failed"
    assert check.error == {
        "code": "analysis_failed",
        "detail": f"the vectors {name!r} were deleted",
    }


def test_a_set_that_is_damaged_fails_its_job(bench: Bench) -> None:
    name = bench.add(directions(4))
    job = bench.submit({"vectors": name})
    path = Layout.vectors(name)
    content = bytearray(bench.store.read(path))
    content[-1] ^= 1
    bench.store.write(path, bytes(content))

    run_what_is_due(bench.board, bench.runner, job)

    error = bench.find(job).error
    assert error is not None
    assert "damaged" in error["detail"]


def test_a_set_of_another_width_than_the_model_has_by_now_fails_its_job(bench: Bench) -> None:
    name = bench.add(directions(4))
    job = bench.submit({"vectors": name})
    known = bench.board.registry.get_vectors(name)
    assert known is not None
    bench.board.registry.delete_vectors(name)
    bench.board.registry.add_vectors(replace(known, width=16, count=8))

    run_what_is_due(bench.board, bench.runner, job)

    error = bench.find(job).error
    assert error is not None
    assert "resid_post of this model 32" in error["detail"]


def test_another_tenant_that_has_the_same_set_has_a_file_of_its_own(bench: Bench) -> None:
    name = bench.add(directions(4))
    job = bench.submit({"vectors": name})
    known = bench.board.registry.get_vectors(name)
    assert known is not None
    bench.board.registry.delete_vectors(name)
    bench.board.registry.add_vectors(known, "acme")

    run_what_is_due(bench.board, bench.runner, job)

    error = bench.find(job).error
    assert error is not None
    assert "were deleted" in error["detail"]


def test_a_planted_direction_has_the_contexts_of_its_token(bench: Bench) -> None:
    """What stands for a token before the first layer finds that token again, and its opposite has
    it in the other tail.
    """
    model = bench.model()
    texts = [torch.tensor(ids) for ids, _, _ in tokenize(model.tokenizer, make_texts())]
    ids = torch.cat([text[:32] for text in texts])
    values = np.concatenate([bench.values(text[:32], "resid_pre", 0) for text in texts])
    tokens = [token for token, _ in Counter(ids.tolist()).most_common(4)]
    planted = np.stack([values[(ids == token).numpy()].mean(0) for token in tokens])

    name = bench.add([*planted, *-planted], "resid_pre", layer=0, normalize=True)
    job = bench.make({"vectors": name})

    for number, token in enumerate(tokens):
        for unit, tail in ((number, "positive"), (number + 4, "negative")):
            contexts = bench.report(job, unit, 0)["contexts"]
            top = [c for c in contexts if (c["tail"], c["sample"]) == (tail, "top")]
            peaks = [c["tokens"][c["peak"]] for c in top[:5]]
            assert peaks == [model.vocabulary[token]] * 5
