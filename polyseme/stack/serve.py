"""Runs the API under gunicorn: `python -P -m polyseme.stack.serve`, with gunicorn's options.

gunicorn's own command puts the current folder first among those that modules are imported from, and
takes settings from a `gunicorn.conf.py` there. This one does neither.
"""

from __future__ import annotations

import os
import sys

from gunicorn.app.wsgiapp import WSGIApplication

SETTINGS = "python:polyseme.stack.gunicorn_conf"


class _Server(WSGIApplication):
    def chdir(self) -> None:
        """As gunicorn's, without a change to `sys.path`."""
        os.chdir(self.cfg.chdir)


def main() -> None:
    sys.argv[1:1] = ["--config", SETTINGS]
    _Server("%(prog)s [OPTIONS]").run()


if __name__ == "__main__":
    main()
