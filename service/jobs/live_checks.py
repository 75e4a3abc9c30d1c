"""Live checks: taking one in, showing one, deleting one.

A check is a job of another kind on the board.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyseme.contract.errors import Detail, Gone, InvalidRequest, ResultDamaged
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import ACTIVATIONS, ActivationsRequest, Job
from polyseme.service.access.quotas import check_room, find_quotas
from polyseme.service.context import Services
from polyseme.service.jobs.find_and_end import find_job, find_result, forget_job
from polyseme.service.jobs.submit import put_on_board
from polyseme.service.json_text import timestamp
from polyseme.service.schemas.activations import DEFAULT_TOP

Target = tuple[int, int]  # layer, neuron

_NOTHING_YET = {"tokens": None, "neurons": None, "note": None}


def submit_check(services: Services, body: Mapping[str, Any]) -> Job:
    """body: as loaded. Raises NotFound, JobNotFinished, Gone, InvalidRequest or TooManyJobs."""
    analysed = find_result(services, body["job"])
    targets = tuple((t["layer"], t["neuron"]) for t in body["neurons"])
    if wrong := list(_wrong_targets(services, analysed.id, targets)):
        raise InvalidRequest("; ".join(d.detail for d in wrong[:5]), details=tuple(wrong))
    top = body.get("top", DEFAULT_TOP)
    return _open(
        services,
        ActivationsRequest(analysed.id, analysed.request.model, body["text"], targets, top),
    )


def _wrong_targets(services: Services, job: str, targets: Sequence[Target]) -> Iterator[Detail]:
    scalars, seen = services.results.scalars(job), set[Target]()
    for i, (layer, neuron) in enumerate(targets):
        if (layer, neuron) in seen:
            yield Detail(f"/neurons/{i}", f"layer {layer}, neuron {neuron} is given twice")
        elif not scalars.has(layer, neuron):
            yield Detail(
                f"/neurons/{i}", f"layer {layer}, neuron {neuron} is not among the neurons of {job}"
            )
        seen.add((layer, neuron))


def _open(services: Services, request: ActivationsRequest) -> Job:
    quotas = find_quotas(services)
    check_room(services, quotas)
    queue = services.board.registry.find_queue(request.model)
    opened = put_on_board(services, request, queue, quotas)
    return find_check(services, opened.job)


def find_check(services: Services, check: str) -> Job:
    return find_job(services, check, "live check")


def delete_check(services: Services, check: str) -> None:
    forget_job(services, check, "live check", "delete it once it has ended")


def check_to_dict(services: Services, check: Job) -> dict[str, Any]:
    """Raises Gone when it has succeeded and its result is no longer there."""
    request = check.check
    answer = _read_answer(services, check.id) if check.status == "succeeded" else _NOTHING_YET
    return {
        "object": "activations",
        "id": check.id,
        "status": check.status,
        "job": request.job,
        "model": request.model,
        "created_at": timestamp(check.created_at),
        "finished_at": timestamp(check.finished_at),
        "text": request.text,
        **answer,
        "error": check.error,
        "links": {
            "self": f"{services.base}/v1/activations/{check.id}",
            "job": f"{services.base}/v1/jobs/{request.job}",
        },
    }


def _read_answer(services: Services, check: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(
            services.store.read(f"{Layout.result(check)}/{ACTIVATIONS}")
        )
    except FileNotFoundError as e:
        raise Gone(f"the result of {check} is no longer in the store") from e
    except ValueError as e:
        raise ResultDamaged(f"the result of {check} is damaged: submit the check again") from e
    return answer
