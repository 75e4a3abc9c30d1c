"""gunicorn's settings, on one machine and in a container. Threads, not processes, carry the polls.

What differs comes from the environment: WEB_CONCURRENCY (processes, one by default), and
GUNICORN_CMD_ARGS.
"""

import os
import sys
from pathlib import Path
from typing import Any

from polyseme.contract.board.exposure import Exposed, check_exposure
from polyseme.contract.logs import logging_config
from polyseme.contract.settings import Settings

_settings = Settings.from_environ(os.environ)
# prometheus_client reads the variable when it is first imported, which is after this file.
_counters = Path(os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", f"{_settings.cache}/metrics"))

wsgi_app = "polyseme.service.wsgi:app"
worker_class = "polyseme.service.http.slow_clients.SlowClientWorker"  # gthread
threads = _settings.api_threads
timeout = 60  # seconds without a heartbeat of the process, not of a request
graceful_timeout = 10  # long polls and downloads get this long after SIGTERM
keepalive = 75  # longer than the usual proxy's, so that the proxy closes first
forwarded_allow_ips = _settings.trusted_proxies
control_socket_disable = True
logger_class = "polyseme.service.http.server_log.ServerLog"
logconfig_dict = logging_config(_settings.log_format, _settings.folders())


def on_starting(server: Any) -> None:
    """Counters of an earlier run would be added to this one's.

    Without API keys it listens on this machine only.
    """
    try:
        check_exposure(server.cfg.address, _settings)
    except Exposed as e:
        sys.exit(f"The API does not start: {e}")
    for file in _counters.glob("*.db"):
        file.unlink(missing_ok=True)


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
