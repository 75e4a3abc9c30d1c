"""A job from POST to its last page, on a real Redis, gunicorn and workers: quiet, shared out,
killed, cancelled; and
live checks beside it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyseme import Polyseme, Problem
from polyseme.records import Corpus
from polyseme.service.results.curve import cut_tree
from tests.client.standins import wait_until
from tests.factories import add_corpus, make_texts
from tests.journeys.conftest import BROKEN, MODEL, Stack
from tests.journeys.site import running_site
from tests.nursery import Nursery
from tests.service.receiver import receiving
from tests.service.results.neuronpedia.test_bundle import ACTIVATION, FEATURE, conforms, unpack

REQUEST: dict[str, Any] = {"model": MODEL, "contexts": {"window": 32, "top_k": 8, "tails": "both"}}


def register(client: Polyseme, name: str, texts: list[str]) -> Corpus:
    lines = (json.dumps({"text": t}).encode() + b"\n" for t in texts)
    return client.add_corpus(lines, name=name)


def submit(client: Polyseme, corpus: str, **changes: Any) -> str:
    return client.submit(REQUEST | {"corpus": {"id": corpus}} | changes).id


def digests(stack: Stack, job: str) -> dict[str, str]:
    folder = stack.data / "store/results" / job
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_job_is_polled_to_its_end_and_paged_to_its_last_neuron(client: Polyseme) -> None:
    corpus = register(client, "journey", [*make_texts(200, seed=1), make_texts(1, seed=1)[0]])
    assert (corpus.documents, corpus.duplicates_dropped) == (200, 1)

    job = client.wait(submit(client, "journey"))

    assert job.succeeded, job.error
    assert job.progress.fraction == 1
    assert (job.progress.shards.total or 0) > 1
    rows = list(client.neurons(job.id, limit=50))
    assert [(r.layer, r.neuron) for r in rows] == [
        (layer, n) for layer in range(3) for n in range(48)
    ]
    report = client.neuron(job.id, 2, 47)
    top = [c.activation for c in report.contexts if (c.tail, c.sample) == ("positive", "top")]
    assert top == sorted(top, reverse=True)
    assert top[0] == rows[-1].max == report.stats.max
    assert client.summary(job.id)["neurons"] == len(rows)


def test_every_context_points_at_its_peak_token_in_its_document(client: Polyseme) -> None:
    texts = [f"{t} — café {i} 🙂 naïve" for i, t in enumerate(make_texts(60, seed=2))]
    register(client, "offsets", texts)

    job = client.wait(submit(client, "offsets"))

    for row in client.neurons(job.id, layer="1", limit=48):
        for context in client.neuron(job.id, 1, row.neuron).contexts:
            start, end = context.char_span
            token = context.tokens[context.peak]
            if "<0x" not in token:
                assert texts[context.document][start:end] == token
            assert context.text in texts[context.document]
            assert context.text[slice(*context.peak_span)] == texts[context.document][start:end]


@pytest.mark.parametrize("same_at", [0.35, 0.42])
def test_at_the_jobs_own_same_at_the_tree_gives_the_reports_senses(
    client: Polyseme, same_at: float
) -> None:
    register(client, "tree", make_texts(200, seed=1))
    job = client.wait(
        submit(
            client, "tree", contexts={"window": 32, "tails": "both"}, senses={"same_at": same_at}
        )
    ).id

    for row in client.neurons(job):
        report = client.neuron(job, row.layer, row.neuron).raw
        for tail, scores in (("positive", report), ("negative", report["negative"])):
            tree = client.tree(job, row.layer, row.neuron, tail=tail)
            leaves = [(kept, i) for kept in ("contexts", "evidence") for i in tree[kept]]
            least = max(4, math.ceil(0.05 * len(leaves)))
            groups = [
                {leaves[i] for i in g}
                for g in cut_tree(tree["merges"], len(leaves), same_at)
                if len(g) >= least
            ]
            senses = [
                {(kept, i) for kept in ("contexts", "evidence") for i in s[kept]}
                for s in report["senses"]
                if s["tail"] == tail
            ]
            point = next(p for p in tree["curve"] if p["same_at"] == same_at)

            named = ("sense_count", "coverage")
            assert point["exact"]
            assert tree["score"] == scores["polysemanticity"]["score"]
            assert [point[n] for n in named] == [scores["polysemanticity"][n] for n in named]
            if scores["status"] != "insufficient_evidence":
                assert set().union(*senses) == set().union(*groups)
                assert all(any(s <= g for g in groups) for s in senses)


def test_exports_hold_what_the_pages_show(client: Polyseme) -> None:
    register(client, "export", make_texts(80, seed=3))
    job = client.wait(submit(client, "export")).id
    parquet, lines = io.BytesIO(), io.BytesIO()

    client.export(job, "parquet", parquet)
    client.export(job, "ndjson", lines)

    names = zipfile.ZipFile(parquet).namelist()
    for wanted in ("manifest.json", "neurons.parquet", "reports/layer-002.parquet"):
        assert any(name.endswith(wanted) for name in names)
    reports = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(reports) == 144
    shown = client.neuron(job, 0, 5)
    assert reports[5]["contexts"] == shown.raw["contexts"]


def test_a_model_with_two_broken_neurons_gives_all_the_others(client: Polyseme) -> None:
    register(client, "broken", make_texts(80, seed=3))
    job = client.wait(submit(client, "broken", model=BROKEN))
    lines, bundle = io.BytesIO(), io.BytesIO()

    client.export(job.id, "ndjson", lines)
    client.export(job.id, "neuronpedia", bundle)

    assert job.succeeded, job.error
    lost = [(2, 5), (2, 7)]
    found = client.neurons(job.id, status="not_finite")
    assert [(row.layer, row.neuron, row.max) for row in found] == [(*at, None) for at in lost]
    by_size = [(row.layer, row.neuron) for row in client.neurons(job.id, sort="-max")]
    assert sorted(by_size[-2:]) == lost
    report = client.neuron(job.id, 2, 7)
    assert (report.status, report.contexts, report.stats.mean) == ("not_finite", (), None)
    assert report.negative is not None
    assert report.negative.status == "not_finite"
    assert "not finite" in report.meaning
    assert client.neuron(job.id, 2, 6).stats.mean is not None
    summary = client.summary(job.id)
    assert summary["statuses"]["not_finite"] == 2
    assert "layer 2, neurons 5,7" in summary["warnings"][0]
    reports = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(r["layer"], r["neuron"]) for r in reports if r["status"] == "not_finite"] == lost
    checked = client.activations(job.id, "the river and the bank", [(2, 5), (2, 6)])
    assert not any(checked.neurons[0].activations)
    assert any(checked.neurons[1].activations)
    again = client.wait(client.regroup(job.id, same_at=0.2).id)
    assert client.summary(again.id)["warnings"] == summary["warnings"]
    assert [row.neuron for row in client.neurons(again.id, status="not_finite")] == [5, 7]


def test_one_worker_and_two_give_the_same_bytes(
    client: Polyseme, stack: Stack, nursery: Nursery, tmp_path: Path
) -> None:
    texts = make_texts(300, seed=4)
    register(client, "bytes", texts)
    job = client.wait(submit(client, "bytes")).id

    with running_site(nursery, tmp_path / "data", layers=3, shard_tokens=10**8) as site:
        add_corpus(site.board, site.store, texts, "bytes")
        site.start_worker()
        wanted = site.run_quietly(site.submit("bytes", contexts=REQUEST["contexts"]))

    assert len(wanted) == 16
    assert digests(stack, job) == wanted


def test_a_killed_worker_costs_time_but_no_byte(client: Polyseme, stack: Stack) -> None:
    register(client, "kill", make_texts(300, seed=5))
    quiet = client.wait(submit(client, "kill")).id

    job = submit(client, "kill", reuse=False)
    while client.job(job).phase != "scanning":
        time.sleep(0.02)
    victims = stack.worker_pids()
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    ended = client.wait(job)

    assert ended.succeeded, ended.error
    assert digests(stack, job) == digests(stack, quiet)


def test_a_cancelled_job_leaves_nothing_but_its_record(client: Polyseme, stack: Stack) -> None:
    register(client, "cancel", make_texts(3000, seed=6))
    job = submit(client, "cancel")
    while client.job(job).status == "queued":
        time.sleep(0.02)

    client.cancel(job)
    ended = client.wait(job)

    assert ended.status == "cancelled"
    assert not (stack.data / "store/work" / job).exists()
    assert not (stack.data / "store/results" / job).exists()
    client.delete(job)
    with pytest.raises(Problem) as gone:
        client.job(job)
    assert gone.value.status == 404


def test_a_conditional_poll_of_a_finished_job_is_not_modified(
    client: Polyseme, stack: Stack
) -> None:
    register(client, "etag", make_texts(40, seed=8))
    job = client.wait(submit(client, "etag")).id
    first = httpx.get(f"{stack.url}/v1/jobs/{job}")

    second = httpx.get(
        f"{stack.url}/v1/jobs/{job}", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (first.status_code, second.status_code) == (200, 304)


def test_a_submit_that_waits_gets_the_ended_job(stack: Stack) -> None:
    request = REQUEST | {"corpus": {"texts": make_texts(30, seed=9)}}

    answer = httpx.post(
        f"{stack.url}/v1/jobs", json=request, headers={"Prefer": "wait=30"}, timeout=60
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "succeeded"


def test_a_batch_runs_to_its_end_and_tells_it_once(client: Polyseme, stack: Stack) -> None:
    register(client, "batch", make_texts(60, seed=5))
    jobs = [
        REQUEST | {"corpus": {"id": "batch"}, "neurons": {"layers": [layer]}} for layer in (0, 1, 7)
    ]
    with receiving() as receiver, httpx.Client(base_url=stack.url, timeout=40) as http:
        sent = {"jobs": jobs, "atomic": False, "webhook": {"url": receiver.url}}
        batch = http.post("/v1/batches", json=sent, headers={"Prefer": "wait=1"}).json()
        while batch["status"] != "ended":
            batch = http.get(batch["links"]["self"], headers={"Prefer": "wait=20"}).json()
        wait_until(lambda: bool(receiver.posts))

    assert [e["status"] for e in batch["entries"]] == ["succeeded", "succeeded", None]
    assert (batch["counts"]["succeeded"], batch["counts"]["refused"], batch["fraction"]) == (
        2,
        1,
        1.0,
    )
    event = json.loads(receiver.posts[0].body)
    assert (event["type"], event["data"]["id"]) == ("batch.ended", batch["id"])
    assert event["data"]["entries"] == batch["entries"]
    assert len(receiver.posts) == 1


def test_a_real_result_keeps_neuronpedias_rules(client: Polyseme, stack: Stack) -> None:
    register(client, "neuronpedia", make_texts(60, seed=6))
    job = client.wait(submit(client, "neuronpedia", neurons={"layers": [1]}))

    files = unpack(
        httpx.get(f"{stack.url}/v1/jobs/{job.id}/export?format=neuronpedia", timeout=20).content
    )

    features = [f for name, records in files.items() if "/features/" in name for f in records]
    acts = [a for name, records in files.items() if "/activations/" in name for a in records]
    assert (len(features), len(acts) > 48) == (48, True)
    for f in features:
        stats = client.neuron(job.id, 1, int(f["index"])).raw["stats"]
        assert conforms(f, FEATURE)
        assert sum(f["freq_hist_data_bar_heights"]) == round(stats["density"] * stats["n_tokens"])
        assert f["maxActApprox"] == pytest.approx(max(stats["max"], 0), rel=1e-6)
        assert f["frac_nonzero"] == pytest.approx(stats["density"], rel=1e-5)
    for a in acts:
        assert conforms(a, ACTIVATION)
        assert a["maxValue"] == max(a["values"]) == a["values"][a["maxValueTokenIndex"]]
        assert a["values"].index(a["maxValue"]) == a["maxValueTokenIndex"]
        assert len(a["tokens"]) == len(a["values"]) <= 1024
        assert a["binMin"] == -1 or a["binMin"] <= a["maxValue"] <= a["binMax"] * (1 + 1e-5)


def ask(
    stack: Stack, job: str, text: str, *neurons: tuple[int, int], wait: int = 30
) -> httpx.Response:
    body = {
        "job": job,
        "text": text,
        "neurons": [{"layer": layer, "neuron": n} for layer, n in neurons],
    }
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return httpx.post(f"{stack.url}/v1/activations", json=body, headers=headers, timeout=60)


def test_a_context_is_found_again_with_its_activation_and_its_sense(
    client: Polyseme, stack: Stack
) -> None:
    texts = make_texts(150, seed=11)
    register(client, "live", texts)
    job = client.wait(submit(client, "live")).id
    report = client.neuron(job, 1, 7).raw
    context = next(c for c in report["contexts"] if c["sample"] == "top" and c["sense"] is not None)

    answer = ask(stack, job, texts[context["document"]], (1, 7))

    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["note"]) == ("succeeded", None)
    [neuron] = found["neurons"]
    [token] = [i for i, t in enumerate(found["tokens"]) if t["char_span"] == context["char_span"]]
    assert abs(neuron["activations"][token] - context["activation"]) < 1e-3
    [peak] = [p for p in neuron["peaks"] if p["token"] == token and p["tail"] == context["tail"]]
    assert (peak["sense"], peak["activation"]) == (context["sense"], neuron["activations"][token])


def test_a_check_overtakes_a_job_that_is_being_scanned(client: Polyseme, stack: Stack) -> None:
    register(client, "small", make_texts(40, seed=12))
    small = client.wait(submit(client, "small")).id
    register(client, "big", make_texts(4000, seed=13))
    big = submit(client, "big")
    while client.job(big).phase != "scanning":
        time.sleep(0.05)

    located = ask(stack, small, "the river and the bank", (0, 0), wait=0).headers["Location"]
    while (check := httpx.get(f"{stack.url}{located}").json())["status"] in ("queued", "running"):
        time.sleep(0.05)

    assert check["status"] == "succeeded", check["error"]
    assert client.job(big).status == "running"
    client.cancel(big)
    client.wait(big)
    assert httpx.delete(f"{stack.url}{located}").status_code == 204
    assert httpx.get(f"{stack.url}{located}").status_code == 404
