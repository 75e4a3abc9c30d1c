"""`python -m polyseme`: the command."""

from __future__ import annotations

from polyseme.commands.main import main

main()
