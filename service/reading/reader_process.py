"""A process that reads one upload into a file of documents.

An order comes as a line of JSON, its answer goes as one. What is to be read and written are files
that are open already. It ends when the process that gave the order does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from dataclasses import asdict
from typing import Any

from polyseme.contract.errors import PolysemeError
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.service.reading.documents import read_documents


class _WithoutPandas:
    """pyarrow imports it with its first array of Python values, where it is installed: that takes
    longer than all else that this process does for a small file.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main() -> None:
    sys.meta_path.insert(0, _WithoutPandas)
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CPU, (order["cpu_s"], order["cpu_s"]))
    sys.stdout.write(json.dumps(_carry_out(order)) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    notes = Notes()
    with os.fdopen(order["raw"], "rb") as raw, os.fdopen(order["file"], "r+b") as file:
        try:
            corpus = read_documents(
                raw,
                file,
                Reading(**order["reading"]),
                notes,
                name=order["name"],
                max_documents=order["max_documents"],
            )
        except PolysemeError as e:
            details = [(d.pointer, d.detail) for d in e.details]
            return {"error": type(e).__name__, "message": e.message, "details": details}
    return {"corpus": asdict(corpus), **asdict(notes)}


if __name__ == "__main__":
    main()
