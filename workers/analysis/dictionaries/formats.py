"""The formats by the files that show them, and a dictionary of the catalogue in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from polyseme.contract.errors import DictionaryLoadError
from polyseme.contract.records.catalogue import DictionaryEntry, shown_source
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.dictionaries.hub_files import fetch_folder
from polyseme.workers.analysis.dictionaries.readers import (
    cross_layer,
    gemma_scope,
    gemma_scope_2,
    saelens,
    saelens_5,
    sparsify,
)
from polyseme.workers.analysis.dictionaries.weight_files import Folder

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_LLAMA_SCOPE = (
    "this is a dictionary of Llama Scope, which is not read: its files do not say for certain "
    "whether a latent is compared with its threshold before or after it is multiplied by its "
    "decoder's norm"
)


@dataclass(frozen=True)
class Format:
    name: str  # as the catalogue spells it
    files: str  # what shows it, for people
    shows: Callable[[Folder], bool]
    read: Callable[[Folder], Dictionary]


@dataclass(frozen=True)
class LayerFormat:
    """Of one file a layer, of which one is named."""

    name: str
    files: str
    file: re.Pattern[str]
    read: Callable[[Folder, str], Dictionary]


def _has_metadata(folder: Folder) -> bool:
    return isinstance(folder.json(saelens.SETTINGS).get("metadata"), dict)


def _is_saelens(folder: Folder) -> bool:
    return folder.has(saelens.SETTINGS, saelens.WEIGHTS)


FORMATS: tuple[Format, ...] = (
    Format(
        "saelens",
        "cfg.json with metadata and sae_weights.safetensors",
        lambda folder: _is_saelens(folder) and _has_metadata(folder),
        saelens.read_saelens,
    ),
    Format(
        "saelens-5",
        "cfg.json without metadata and sae_weights.safetensors",
        lambda folder: _is_saelens(folder) and not _has_metadata(folder),
        saelens_5.read_saelens_5,
    ),
    Format(
        "gemma-scope-1",
        "params.npz",
        lambda folder: folder.has(gemma_scope.WEIGHTS),
        gemma_scope.read_gemma_scope,
    ),
    Format(
        "gemma-scope-2",
        "config.json and params.safetensors",
        lambda folder: folder.has(gemma_scope_2.SETTINGS, gemma_scope_2.WEIGHTS),
        gemma_scope_2.read_gemma_scope_2,
    ),
    Format(
        "sparsify",
        "cfg.json and sae.safetensors",
        lambda folder: folder.has(sparsify.SETTINGS, sparsify.WEIGHTS),
        sparsify.read_sparsify,
    ),
)
LAYER_FORMATS: tuple[LayerFormat, ...] = (
    LayerFormat(
        "clt",
        "config.yaml and W_enc_<layer>.safetensors",
        cross_layer.LAYER_WEIGHTS,
        cross_layer.read_cross_layer,
    ),
    LayerFormat(
        "gemma-scope-2",
        "config.json and params_layer_<layer>.safetensors",
        gemma_scope_2.LAYER_WEIGHTS,
        gemma_scope_2.read_gemma_scope_2_layer,
    ),
)


def read_dictionary(entry: DictionaryEntry) -> Dictionary:
    """In memory, on the CPU. Raises DictionaryLoadError."""
    try:
        path = Path(entry.location) if entry.kind == "path" else fetch_folder(entry)
        return read_path(path, entry.format)
    except DictionaryLoadError as e:
        raise DictionaryLoadError(f"{entry.id}: {e.message}") from e
    except OSError as e:
        raise DictionaryLoadError(f"{entry.id}: {e.filename}: {e.strerror or e}") from e


def describe_dictionary(entry: DictionaryEntry) -> DictionaryCard:
    """Its card; one that cannot be read has the reason in its `error`."""
    try:
        return make_card(entry, read_dictionary(entry))
    except DictionaryLoadError as e:
        return replace(_begin_card(entry), error=e.message)
    # torch says so too when there is no memory for a tensor.
    except (MemoryError, RuntimeError) as e:
        return replace(_begin_card(entry), error=f"{entry.id}: it cannot be read: {e}")


def make_card(entry: DictionaryEntry, read: Dictionary) -> DictionaryCard:
    return replace(
        _begin_card(entry),
        hook=read.hook,
        site=read.site,
        layer=read.layer,
        architecture=read.architecture,
        latents=read.latents,
        width=read.width,
        format=read.format,
        sha256=read.sha256,
        neuronpedia=read.notes.neuronpedia,
        expected_l0=read.notes.expected_l0,
        prepend_bos=read.notes.prepend_bos,
        context_size=read.notes.context_size,
        loaded_with=read.notes.from_pretrained_kwargs,
    )


def _begin_card(entry: DictionaryEntry) -> DictionaryCard:
    """What is known before its files are read."""
    source = shown_source(entry.source)
    return DictionaryCard(entry.id, entry.model, source=source, fingerprint=entry.fingerprint)


def read_path(path: Path, name: str = "auto") -> Dictionary:
    """A folder, or one layer's file of a cross-layer transcoder. name: of a format.

    Raises DictionaryLoadError.
    """
    if path.is_file():
        return _read_layer(path, name)
    if not path.is_dir():
        raise DictionaryLoadError(f"there is no folder {path}")
    found = _choose(Folder(path), name)
    folder = Folder(path)  # without what was read to find the format
    return replace(found.read(folder), format=found.name, sha256=folder.sha256())


def _choose(folder: Folder, name: str) -> Format:
    known = [form for form in FORMATS if name in ("auto", form.name)]
    shown = [form for form in known if form.shows(folder)]
    if len(shown) == 1:
        return shown[0]
    names = ", ".join(folder.names()[:12]) or "no files"
    if len(shown) > 1:
        said = " and ".join(form.name for form in shown)
        raise DictionaryLoadError(
            f"{folder.path} has files of {said} ({names}): say which in the entry's format"
        )
    _refuse_known(folder)
    raise DictionaryLoadError(
        f"{folder.path} has {names}; known are {'; '.join(f.files for f in known) or _layers()}"
    )


def _refuse_known(folder: Folder) -> None:
    """Raises DictionaryLoadError with what to do about files that are not read as they are."""
    names = folder.names()
    if "hyperparams.json" in names or {"config.json", saelens.WEIGHTS} <= set(names):
        raise DictionaryLoadError(_LLAMA_SCOPE)
    if layers := [n for n in names if any(form.file.fullmatch(n) for form in LAYER_FORMATS)]:
        raise DictionaryLoadError(
            f"{folder.path} is of several layers: name one layer's file, such as {layers[0]}"
        )
    if pickles := [n for n in names if n.endswith(_PICKLES)]:
        raise DictionaryLoadError(
            f"{folder.path} has {pickles[0]}, a pickle, which is never read here: convert it with "
            f"`polyseme dictionaries convert`"
        )


def _read_layer(path: Path, name: str) -> Dictionary:
    for form in LAYER_FORMATS:
        if form.file.fullmatch(path.name) and name in ("auto", form.name):
            folder = Folder(path.parent)
            read = form.read(folder, path.name)
            return replace(read, format=form.name, sha256=folder.sha256())
    hint = "; a pickle is converted with `polyseme dictionaries convert`"
    raise DictionaryLoadError(
        f"{path} is no layer's file of a cross-layer transcoder; known are {_layers()}"
        + (hint if path.name.endswith(_PICKLES) else "")
    )


def _layers() -> str:
    return "; ".join(form.files for form in LAYER_FORMATS)
