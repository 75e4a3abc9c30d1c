"""`python -m workers`: one worker, set up by the environment (see `contract.settings`)."""

from __future__ import annotations

import logging
import os
import sys

from contract.errors import UnsafeRedis
from contract.settings import Settings
from workers.worker import run_worker


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environ(os.environ)
        run_worker(settings)
    except (ValueError, UnsafeRedis) as e:
        logging.getLogger("workers").error("%s", e)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
