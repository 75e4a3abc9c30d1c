"""Jobs that make new senses of a finished job's scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from polyseme.contract.errors import Conflict
from polyseme.contract.records.job import Job
from polyseme.contract.records.request import Senses, translate_senses
from polyseme.service.access.quotas import check_room, find_quotas
from polyseme.service.context import Services
from polyseme.service.jobs.find_and_end import find_result
from polyseme.service.jobs.submit import digest_of, find_submitted, open_job


def submit_regrouping(
    services: Services, source: str, body: Mapping[str, Any], key: str | None
) -> tuple[Job, bool]:
    """The new job, and whether an earlier request with the same key had made it.

    Raises Conflict without senses.

    body: what RegroupSchema loaded. What it leaves out is as it was in the source.
    """
    digest = digest_of({"source": source, **body})
    if key is not None and (earlier := find_submitted(services, key, digest)):
        return earlier, True
    old = find_result(services, source).analysis
    if not old.senses.enabled:
        raise Conflict(
            f"{source} has no senses to make anew: it was submitted with senses.enabled false"
        )
    webhook = (body.get("webhook") or {}).get("url")
    services.webhook_urls.check(webhook)
    request = replace(
        old,
        senses=_changed(old.senses, body),
        source_job=source,
        priority=body.get("priority", "normal"),
        deadline_s=body.get("deadline_s"),
        webhook=webhook,
        metadata=body.get("metadata", {}),
    )
    quotas = find_quotas(services)
    check_room(services, quotas)
    queue = services.board.registry.find_queue(request.model)
    return open_job(services, request, queue, quotas, None if key is None else (key, digest))


def _changed(senses: Senses, body: Mapping[str, Any]) -> Senses:
    names = ("same_at", "alpha", "min_contexts", "vectors")
    return replace(senses, **translate_senses({n: body[n] for n in names if n in body}))
