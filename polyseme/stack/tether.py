"""Runs a command that the kernel ends when its parent dies, even by SIGKILL.

Linux only; a script of its own.

    python tether.py SIGNAL PARENT_PID COMMAND...

The request is made here, between fork and exec, and survives the exec: `subprocess`' own hook for
this place, `preexec_fn`, may deadlock in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tether(number: int, parent: int) -> None:
    """Asks for the signal at the parent's death. The parent may have died before that was asked."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tether(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
