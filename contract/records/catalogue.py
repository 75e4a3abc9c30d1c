"""The catalogue: which models may be analysed, and where their files are.

A model that is not listed is refused.

[[models]]
id = "smollm2-135m-instruct"
gguf = "/models/SmolLM2-135M-Instruct.Q4_1.gguf"   # or:
# path = "/models/my-model"                        # a folder with config.json, *.safetensors and a
                                                   tokenizer
# hub = "EleutherAI/pythia-70m"                    # a Hugging Face id, and
# revision = "a39f36b100fe8a5377810d56c3f4789b9c53ac42"
# queue = "big"                                    # only workers that serve this queue run the
                                                   model; else "default"
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyseme.contract.names import DEFAULT_QUEUE, QUEUE_NAME

MODEL_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,95}")

Kind = Literal["hub", "path", "gguf"]
_KINDS: tuple[Kind, ...] = ("hub", "path", "gguf")


@dataclass(frozen=True)
class Entry:
    id: str
    kind: Kind
    location: str  # a hub id, or an absolute path
    revision: str | None = None  # of a hub id
    queue: str = DEFAULT_QUEUE

    @property
    def source(self) -> str:
        return f"{self.kind}:{self.location}" + (f"@{self.revision}" if self.revision else "")


def shown_source(source: str) -> str:
    """A source without the folder, which says nothing about the model, differs between machines and
    is nobody's business.
    """
    kind, _, location = source.partition(":")
    return source if kind == "hub" else f"{kind}:{Path(location).name}"


def load_catalogue(path: str | Path) -> dict[str, Entry]:
    """The entries by id.

    Relative paths start at the file's folder. Raises ValueError saying which entry is wrong.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ValueError(
            f"no catalogue at {path}: create it, or point POLYSEME_CATALOGUE at one"
        ) from e
    except tomllib.TOMLDecodeError as e:
        raise ValueError(f"{path}: {e}") from e
    entries: dict[str, Entry] = {}
    for number, item in enumerate(data.get("models", [])):
        entry = _read_entry(item, f"{path}: models[{number}]", path.parent)
        if entry.id in entries:
            raise ValueError(f"{path}: two models have the id {entry.id!r}")
        entries[entry.id] = entry
    return entries


def _read_entry(item: dict[str, object], where: str, folder: Path) -> Entry:
    if unknown := set(item) - {"id", "revision", "queue", *_KINDS}:
        raise ValueError(
            f"{where}: unknown {sorted(unknown)}; known are id, hub, revision, path, gguf, queue"
        )
    identity = item.get("id")
    if not isinstance(identity, str) or not MODEL_ID.fullmatch(identity):
        raise ValueError(f"{where}: id {identity!r} must match {MODEL_ID.pattern}")
    kinds = [k for k in _KINDS if k in item]
    if len(kinds) != 1 or not isinstance(item[kinds[0]], str):
        raise ValueError(f"{where} ({identity}): give exactly one of hub, path and gguf")
    kind, location, revision = kinds[0], str(item[kinds[0]]), item.get("revision")
    if kind == "hub" and not isinstance(revision, str):
        raise ValueError(
            f"{where} ({identity}): a hub model needs a revision, so that results can be repeated"
        )
    if kind != "hub" and revision is not None:
        raise ValueError(f"{where} ({identity}): only a hub model has a revision")
    if kind != "hub":
        location = str((folder / Path(location).expanduser()).resolve())
    queue = item.get("queue", DEFAULT_QUEUE)
    if not isinstance(queue, str) or not QUEUE_NAME.fullmatch(queue):
        raise ValueError(f"{where} ({identity}): queue {queue!r} must match {QUEUE_NAME.pattern}")
    return Entry(identity, kind, location, revision if isinstance(revision, str) else None, queue)
