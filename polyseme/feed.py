"""Where a reader of a job's server-sent events stands: bytes in, states out.

Opens no connection.
"""

from __future__ import annotations

import json

from polyseme.steps import Call, Json

_RETRY_S = 2.0  # between connections, until the service says


class Feed:
    """The events of one job over as many connections as they take."""

    def __init__(self, job: str) -> None:
        self.has_ended = False
        self.has_begun = False
        self.retry_s = _RETRY_S
        self._path = f"/v1/jobs/{job}/events"
        self._last = ""  # id of the last whole event
        self._rest = b""  # of a line
        self._fields: dict[str, str] = {}  # of an event

    def open(self) -> Call:
        """The call that goes on after the last event. What was begun of another is dropped."""
        self.has_begun, self._rest, self._fields = True, b"", {}
        return Call(
            "GET",
            self._path,
            headers={"Last-Event-ID": self._last} if self._last else {},
            is_stream=True,
        )

    def take(self, piece: bytes) -> list[Json]:
        """The states that a piece of the stream completes."""
        # Only line feeds end a line: a text of the job's may have other characters that count as
        # line breaks elsewhere.
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [
            state
            for line in lines
            if (state := self._take_line(line.decode().rstrip("\r"))) is not None
        ]

    def _take_line(self, line: str) -> Json | None:
        name, _, value = line.partition(":")
        if line:
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if fields.get("retry", "").isdecimal():
            self.retry_s = int(fields["retry"]) / 1000
        if "data" not in fields:
            return None
        self._last = fields.get("id", self._last)
        self.has_ended = fields.get("event") == "ended"
        state: Json = json.loads(fields["data"])
        return state
