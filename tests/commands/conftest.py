"""The commands are tested against the client's small server."""

from __future__ import annotations

from tests.client.conftest import client, wire

__all__ = ["client", "wire"]
