from __future__ import annotations

from collections.abc import Iterator

import pytest

from client.api import Client
from tests.client.wire import Wire, running_wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with running_wire() as found:
        yield found


@pytest.fixture
def client(wire: Wire) -> Iterator[Client]:
    with Client(wire.url) as found:
        yield found
