"""llama.cpp itself, through the package xllamacpp, in a process of its own: what it makes of a GGUF
file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# argv: the file. On stdin the text whose ids are wanted, and the one that is run, as JSON.
_PROGRAM = """
import json, sys, urllib.request
import xllamacpp as library
texts = json.load(sys.stdin)
params = library.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = sys.argv[1], 512, 1, 0
params.embedding, params.warmup, params.cpuparams.n_threads = True, False, 1
params.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
server = library.Server(params)
def ask(path, **body):
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(server.listening_address + path, data, headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)
ids = ask("/tokenize", content=texts["ids"], add_special=False, parse_special=False)["tokens"]
states = ask("/embeddings", content=texts["run"], embd_normalize=-1)[0]["embedding"]
print(json.dumps({"ids": ids, "states": states}), flush=True)
"""


def is_installed() -> bool:
    return find_spec("xllamacpp") is not None


def run_llama_cpp(file: Path, text: str, short: str) -> tuple[list[int], np.ndarray]:
    """The ids of a text, none added, and the last hidden states (tokens, hidden) of a short one.

    Raises ValueError with its last words when it does not run the file.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(file)],
        input=json.dumps({"ids": text, "run": short}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise ValueError((words or done.stderr.splitlines() or ["no word"])[-1][:120])
    found = json.loads(lines[-1])
    return found["ids"], np.array(found["states"])
