"""How `polyseme up` runs gunicorn: one process unless WEB_CONCURRENCY says more, and threads for the polls."""

import os
import shutil
import sys
from pathlib import Path

from contract.exposure import Exposed, check_exposure
from contract.logs import logging_config
from contract.settings import Settings

_settings = Settings.from_environ(os.environ)

wsgi_app = "service.wsgi:app"
worker_class = "service.patience.PatientWorker"  # gthread, for slow clients too
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = _settings.api_threads
timeout = 60  # seconds without a heartbeat of the process, not of a request
graceful_timeout = 10
keepalive = 15
control_socket_disable = True
logger_class = "service.server_log.ServerLog"
logconfig_dict = logging_config(_settings.log_format)


def on_starting(server):  # type: ignore[no-untyped-def]
    """Counters of an earlier run would be added to this one's. Without API keys it listens on this machine only."""
    try:
        check_exposure(server.cfg.address, _settings)
    except Exposed as e:
        sys.exit(f"The API does not start: {e}")
    shutil.rmtree(Path(_settings.cache) / "metrics", ignore_errors=True)
