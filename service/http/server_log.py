"""gunicorn's log without its access lines: the application writes its own, with ids (see
`polyseme.service.monitoring.observation`).

gunicorn writes them whenever its logging is configured, and puts each together even where nothing
takes it.
"""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class ServerLog(Logger):
    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        pass
