"""gunicorn in a container. Threads, not processes, carry the polls; a process a core is plenty."""

import os
import shutil
import sys
from pathlib import Path

from contract.logs import logging_config
from contract.settings import Settings

settings = Settings.from_environ(os.environ)

bind = "0.0.0.0:8000"
wsgi_app = "service.wsgi:app"
worker_class = "service.patience.PatientWorker"  # gthread, for slow clients too
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = settings.api_threads
timeout = 60  # seconds without a heartbeat of the process, not of a request
graceful_timeout = 30  # long polls and downloads get this long after SIGTERM
keepalive = 75  # longer than the usual proxy's, so that the proxy closes first
worker_tmp_dir = "/dev/shm"  # the heartbeat file must not wait for a disk
control_socket_disable = True
logger_class = "service.server_log.ServerLog"
logconfig_dict = logging_config(settings.log_format)
max_requests = 0

# prometheus_client reads the variable when it is first imported, which is after this file.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", "/tmp/polyseme-metrics")


def on_starting(server):
    """Counters of an earlier run would be added to this one's. Without API keys it listens on this machine only."""
    from contract.exposure import Exposed, check_exposure

    try:
        check_exposure(server.cfg.address, settings)
    except Exposed as e:
        sys.exit(f"The API does not start: {e}")
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def child_exit(server, worker):
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
