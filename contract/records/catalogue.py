"""The catalogue: which models may be analysed, which sparse dictionaries there are of them, and
where their files are.

What is not listed is refused.

[[models]]
id = "smollm2-135m-instruct"
gguf = "/models/SmolLM2-135M-Instruct.Q4_1.gguf"   # or:
# path = "/models/my-model"                        # a folder with config.json, *.safetensors and a
                                                   tokenizer
# hub = "EleutherAI/pythia-70m"                    # a Hugging Face id, and
# revision = "a39f36b100fe8a5377810d56c3f4789b9c53ac42"
# queue = "big"                                    # only workers that serve this queue run the
                                                   model; else "default"
[[dictionaries]]
id = "res-9-16k"
model = "gemma-2-2b"                               # the id of a model above
path = "/dictionaries/res-9-16k"                   # a folder, or a layer's file of a cross-layer
                                                   transcoder, or:
# repo = "google/gemma-scope-2b-pt-res"            # a Hugging Face id,
# folder = "layer_9/width_16k/average_l0_73"       # the folder or file in it, and
# revision = "fd571b47c1c64851e9b1989792367b9babb4af63"
# format = "gemma-scope-1"                         # else "auto": found by its files
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from polyseme.contract.names import DEFAULT_QUEUE, QUEUE_NAME

MODEL_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,95}")

# What a dictionary's files may be; "auto" finds out by their names.
FORMATS = ("auto", "saelens", "saelens-5", "gemma-scope-1", "gemma-scope-2", "sparsify", "clt")
_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")

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


@dataclass(frozen=True)
class DictionaryEntry:
    """Where a sparse dictionary is: a folder, or one layer's file of a cross-layer transcoder."""

    id: str
    model: str  # the id of its model
    kind: Literal["hub", "path"]
    location: str  # a hub id, or an absolute path
    folder: str = ""  # inside a hub id; "" for all of it
    revision: str | None = None  # of a hub id
    format: str = "auto"  # one of FORMATS

    @property
    def source(self) -> str:
        inside = f"/{self.folder}" if self.folder else ""
        return f"{self.kind}:{self.location}{inside}" + (
            f"@{self.revision}" if self.revision else ""
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that the entry says."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


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
    entries: dict[str, Entry] = {}
    for number, item in enumerate(_read_tables(path, "models")):
        entry = _read_entry(item, f"{path}: models[{number}]", path.parent)
        if entry.id in entries:
            raise ValueError(f"{path}: two models have the id {entry.id!r}")
        entries[entry.id] = entry
    return entries


def load_dictionaries(path: str | Path) -> dict[str, DictionaryEntry]:
    """The dictionaries by id.

    Relative paths start at the file's folder. Raises ValueError saying which entry is wrong.
    """
    path = Path(path)
    models, entries = load_catalogue(path), dict[str, DictionaryEntry]()
    for number, item in enumerate(_read_tables(path, "dictionaries")):
        entry = _read_dictionary(item, f"{path}: dictionaries[{number}]", path.parent)
        if entry.id in entries:
            raise ValueError(f"{path}: two dictionaries have the id {entry.id!r}")
        if entry.model not in models:
            known = ", ".join(models) or "none"
            raise ValueError(
                f"{path}: dictionaries[{number}] ({entry.id}): model {entry.model!r} is not in "
                f"the catalogue, which has {known}"
            )
        entries[entry.id] = entry
    return entries


def _read_tables(path: Path, name: str) -> list[dict[str, object]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get(name, [])
    except FileNotFoundError as e:
        raise ValueError(
            f"no catalogue at {path}: create it, or point POLYSEME_CATALOGUE at one"
        ) from e
    except tomllib.TOMLDecodeError as e:
        raise ValueError(f"{path}: {e}") from e
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path}: {name} must be tables: [[{name}]]")
    return tables


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


def _read_dictionary(item: dict[str, object], where: str, folder: Path) -> DictionaryEntry:
    known = ("id", "model", "path", "repo", "folder", "revision", "format")
    if unknown := set(item) - set(known):
        raise ValueError(f"{where}: unknown {sorted(unknown)}; known are {', '.join(known)}")
    texts = {name: value for name, value in item.items() if isinstance(value, str)}
    if wrong := [name for name in item if name not in texts]:
        raise ValueError(f"{where}: {wrong[0]} is {item[wrong[0]]!r}; expected a text")
    identity, model = texts.get("id", ""), texts.get("model", "")
    for name, value in (("id", identity), ("model", model)):
        if not MODEL_ID.fullmatch(value):
            raise ValueError(f"{where}: {name} {value!r} must match {MODEL_ID.pattern}")
    where = f"{where} ({identity})"
    if texts.get("format", "auto") not in FORMATS:
        raise ValueError(f"{where}: format {texts['format']!r}; known are {', '.join(FORMATS)}")
    if ("path" in texts) == ("repo" in texts):
        raise ValueError(f"{where}: give exactly one of path and repo")
    return _place_dictionary(identity, model, texts, where, folder)


def _place_dictionary(
    identity: str, model: str, texts: dict[str, str], where: str, folder: Path
) -> DictionaryEntry:
    kept = texts.get("format", "auto")
    if "path" in texts:
        if of_repo := sorted({"folder", "revision"} & set(texts)):
            raise ValueError(f"{where}: only a repo has a {of_repo[0]}")
        location = str((folder / Path(texts["path"]).expanduser()).resolve())
        return DictionaryEntry(identity, model, "path", location, format=kept)
    repo, inside = texts["repo"], texts.get("folder", "")
    if not _REPO_ID.fullmatch(repo):
        raise ValueError(f"{where}: repo {repo!r} must be a Hugging Face id such as org/name")
    if "revision" not in texts:
        raise ValueError(f"{where}: a repo needs a revision, so that results can be repeated")
    parts = inside.split("/")
    if inside and (not all(parts) or {".", ".."} & set(parts)):
        raise ValueError(f"{where}: folder {inside!r} must be a path inside the repo")
    return DictionaryEntry(identity, model, "hub", repo, inside, texts["revision"], kept)
