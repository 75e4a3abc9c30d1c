"""Exit code 0 when the board has lately heard from this container's worker, which is process 1."""

import os
import sys

from contract.board import Board, worker_name
from contract.settings import Settings

board = Board.connect(Settings.from_environ(os.environ).redis_url)
sys.exit(worker_name(1) not in board.list_workers())
