from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from polyseme.contract.errors import MalformedRequest
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.service.http.thread_slots import TenantSlots, share_threads
from polyseme.service.reading.upload_reader import UploadReader


def test_nobody_reads_on_for_a_client_that_left(tmp_path: Path) -> None:
    slots = TenantSlots(share_threads(4).uploads, 1)
    body = io.BytesIO("".join(f"{i} sheep\n" for i in range(3_000_000)).encode())
    began = time.monotonic()

    with (
        pytest.raises(MalformedRequest, match="nobody waits"),
        UploadReader(slots, str(tmp_path)).documents(
            body.read,
            Reading(declared="text"),
            Notes(),
            name=None,
            max_documents=10**7,
            tenant="acme",
            has_left=lambda: time.monotonic() > began,
        ),
    ):
        pass

    assert slots.acquire("acme")
