"""`python -m polyseme.workers`: one worker, set up by the environment (see
`polyseme.contract.settings`).
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys

from polyseme.contract.errors import StoreTaken, UnsafeRedis
from polyseme.contract.logs import logging_config
from polyseme.contract.settings import Settings
from polyseme.contract.traces import connect_tracer
from polyseme.workers.worker import run_worker


def main() -> int:
    logging.config.dictConfig(logging_config("text"))
    logging.captureWarnings(True)
    try:
        settings = Settings.from_environ(os.environ)
        logging.config.dictConfig(logging_config(settings.log_format, settings.folders()))
        run_worker(settings, connect_tracer("polyseme-worker", os.environ))
    except (ValueError, UnsafeRedis, StoreTaken) as e:
        logging.getLogger("polyseme.workers").error("%s", e)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
