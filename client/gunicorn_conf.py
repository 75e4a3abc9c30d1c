"""How `polyseme up` runs gunicorn: one process unless WEB_CONCURRENCY says more, and threads for the polls."""

import os
import shutil
from pathlib import Path

from contract.logs import logging_config
from contract.settings import Settings

wsgi_app = "service.wsgi:app"
worker_class = "service.patience.PatientWorker"  # gthread, for slow clients too
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = 16
timeout = 60  # seconds without a heartbeat of the process, not of a request
graceful_timeout = 10
keepalive = 15
control_socket_disable = True
logger_class = "service.server_log.ServerLog"
logconfig_dict = logging_config(Settings.from_environ(os.environ).log_format)


def on_starting(server):  # type: ignore[no-untyped-def]
    """Counters of an earlier run would be added to this one's."""
    cache = Path(Settings.from_environ(os.environ).cache)
    shutil.rmtree(cache / "metrics", ignore_errors=True)
