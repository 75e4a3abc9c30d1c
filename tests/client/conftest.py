from __future__ import annotations

from collections.abc import Iterator

import pytest

from polyseme import Polyseme
from tests.client.wire import Wire, running_wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with running_wire() as wire:
        yield wire


@pytest.fixture
def client(wire: Wire) -> Iterator[Polyseme]:
    with Polyseme(wire.url, patience_s=0) as client:
        yield client
