"""A live check on a real Redis, gunicorn and workers: beside a finished job, and past a long queue."""

from __future__ import annotations

import time
from typing import Any

import httpx

from client.api import Client
from tests.factories import make_texts
from tests.journeys.conftest import Stack
from tests.journeys.test_job import register, submit


def ask(stack: Stack, job: str, text: str, *neurons: tuple[int, int], wait: int = 30) -> httpx.Response:
    body = {"job": job, "text": text, "neurons": [{"layer": layer, "neuron": n} for layer, n in neurons]}
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return httpx.post(f"{stack.url}/v1/activations", json=body, headers=headers, timeout=60)


def test_a_context_is_found_again_with_its_activation_and_its_sense(client: Client, stack: Stack) -> None:
    texts = make_texts(150, seed=11)
    register(client, "live", texts)
    job = client.wait(submit(client, "live"))["id"]
    report = client.report(job, 1, 7)
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


def test_a_check_overtakes_a_job_that_is_being_scanned(client: Client, stack: Stack) -> None:
    register(client, "small", make_texts(40, seed=12))
    small = client.wait(submit(client, "small"))["id"]
    register(client, "big", make_texts(4000, seed=13))
    big = submit(client, "big")
    while client.job(big)["phase"] != "scanning":
        time.sleep(0.05)

    located = ask(stack, small, "the river and the bank", (0, 0), wait=0).headers["Location"]
    while (check := httpx.get(f"{stack.url}{located}").json())["status"] in ("queued", "running"):
        time.sleep(0.05)

    assert check["status"] == "succeeded", check["error"]
    assert client.job(big)["status"] == "running"
    client.cancel(big)
    client.wait(big)
    assert httpx.delete(f"{stack.url}{located}").status_code == 204
    assert httpx.get(f"{stack.url}{located}").status_code == 404
