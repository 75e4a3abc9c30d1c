"""What gunicorn runs:

`gunicorn service.wsgi:app`. The only place of the service that reads the environment.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

import pyarrow as pa

from polyseme.contract.settings import Settings
from polyseme.contract.traces import connect_tracer

settings = Settings.from_environ(os.environ)

# Read by prometheus_client when it is imported, so before the application is.
_counters = Path(os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", f"{settings.cache}/metrics"))
_counters.mkdir(parents=True, exist_ok=True)

from polyseme.service.app import create_app  # noqa: E402

app = create_app(settings, connect_tracer("polyseme-api", os.environ))

# Threads that parse take turns with those that answer: how long each may keep the others waiting.
sys.setswitchinterval(0.001)

# glibc keeps what threads have freed for themselves, each in a place of its own, and after the
# first large body that was freed keeps large ones too: they go back to the system. Parameters of
# mallopt(3).
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
if _mallopt is not None:
    _mallopt(-3, 256 << 10)  # M_MMAP_THRESHOLD: larger ones are mapped
    _mallopt(-8, 2)  # M_ARENA_MAX

# With its first array of Python values pyarrow imports pandas, where that is installed: now, not
# while a client waits.
pa.array([0])

# What has been loaded stays: else a full collection walks through it, in the middle of some
# request.
gc.collect()
gc.freeze()
