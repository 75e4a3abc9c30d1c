"""A model in memory, and the card of one that is not: config, tokenizer, weights.

Reads configs, tokenizers and safetensors files; never pickles, never code that comes with a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from polyseme.contract.errors import ModelLoadError, PolysemeError
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.model_card import ModelCard
from polyseme.workers.analysis.families.architectures import (
    Family,
    auto_class,
    building_options,
    count_neurons,
    count_positions,
    look_up,
)
from polyseme.workers.analysis.families.parts import (
    Parts,
    build_empty,
    find_empty_parts,
    find_parts,
)
from polyseme.workers.analysis.families.wrappers import find_text_config, loading_options
from polyseme.workers.analysis.models import tokens
from polyseme.workers.analysis.models.compiled import Relay, compile_layers
from polyseme.workers.analysis.models.hashes import hash_config, hash_parameters, hash_tokenizer
from polyseme.workers.analysis.models.locate import check_index, locate_model
from polyseme.workers.analysis.models.reading import (
    first_line,
    name_some,
    quiet_transformers,
    reading_files,
)
from polyseme.workers.analysis.models.token_texts import read_vocabulary
from polyseme.workers.analysis.models.tokenizer import TextTokenizer, read_tokenizer
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import describe_sites

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory, in evaluation mode, ready for `run_block` and `logit_lens`."""

    card: ModelCard
    parts: Parts
    tokenizer: TextTokenizer
    vocabulary: list[str]  # the text of each token id
    device: torch.device
    dtype: torch.dtype
    config_sha256: str  # over its settings, without its name and the versions that wrote them
    weights_sha256: str  # over every parameter as loaded: name, dtype, shape, bytes
    tokenizer_sha256: str  # over the tokenizer's definition and its special tokens
    size_bytes: int  # of parameters and buffers
    relay: Relay | None  # of a model whose layers are compiled

    def card_with(self, site: Site | None) -> ModelCard:
        """Its card, with a site of units that a job brings, if any."""
        return self.card if site is None else self.card.with_site(site.card(self.parts))


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model whose config has been read and is known."""

    entry: Entry
    location: str  # a hub id or a folder
    options: Mapping[str, Any]  # of every from_pretrained
    config: Any
    empty: Parts  # without weights
    wrapper: str | None = None  # the model_type of the model that this text model is a part of

    @property
    def family(self) -> Family:
        return self.empty.family


def describe_model(entry: Entry, cache: Path) -> ModelCard:
    """The model's card, from its config and tokenizer.

    A model that cannot be analysed has the reason in its `error`.

    A GGUF file is converted into the cache first, once.
    """
    try:
        return _describe(open_model(entry, cache))[0]
    except PolysemeError as e:
        return _blank_card(entry, str(e))


def load_model(
    entry: Entry, *, device: str, dtype: str, cache: Path, compiled: bool = False
) -> LoadedModel:
    """device: as torch names it, or "auto" for CUDA where there is one; dtype: of weights and
    activations; compiled: whether torch.compile makes the layers faster, which changes the last
    bits.

    Raises ModelLoadError and UnsupportedArchitecture.
    """
    return load_opened(
        open_model(entry, cache), resolve_device(device), resolve_dtype(dtype), compiled
    )


def resolve_device(name: str) -> torch.device:
    """Raises ModelLoadError for a device that this machine has not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ModelLoadError(
            f"device {name!r}: not on this machine; use auto, cpu, cuda or cuda:N"
        ) from e
    return device


def resolve_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ModelLoadError(f"dtype {name!r}: use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def open_model(entry: Entry, cache: Path) -> OpenedModel:
    location = locate_model(entry, cache)
    where = {"revision": entry.revision} if entry.kind == "hub" else {"local_files_only": True}
    options = {"trust_remote_code": False, **where}
    # The raw file first: transformers wants to run a model's own code when it does not know the
    # model_type.
    with reading_files(entry, "config"):
        look_up(PretrainedConfig.get_config_dict(location, **options)[0])
        whole = AutoConfig.from_pretrained(location, **options)
        config = find_text_config(whole)
        _run_whole_blocks(config)
        wrapper = whole.model_type if config is not whole else None
        return OpenedModel(entry, location, options, config, find_empty_parts(config), wrapper)


def _describe(opened: OpenedModel) -> tuple[ModelCard, TextTokenizer]:
    """The card and the tokenizer."""
    tokenizer = _read_tokenizer(opened)
    with reading_files(opened.entry, "tokenizer"):
        card = _make_card(opened, tokenizer)
        largest = tokens.largest_text_id(tokenizer)
    if largest >= card.vocabulary:
        raise ModelLoadError(
            f"{card.id}: its tokenizer has the id {largest}, its embedding {card.vocabulary} rows"
        )
    return card, tokenizer


def load_opened(
    opened: OpenedModel, device: torch.device, dtype: torch.dtype, compiled: bool
) -> LoadedModel:
    card, tokenizer = _describe(opened)
    model = _read_weights(opened, dtype)
    weights_sha256 = hash_parameters(model)
    with reading_files(opened.entry, f"weights into {device}"):
        model.to(device)
    parts = find_parts(opened.family, model)
    return LoadedModel(
        card=card,
        parts=parts,
        tokenizer=tokenizer,
        vocabulary=read_vocabulary(tokenizer.backend_tokenizer, card.vocabulary),
        device=device,
        dtype=dtype,
        config_sha256=hash_config(opened.config),
        weights_sha256=weights_sha256,
        tokenizer_sha256=hash_tokenizer(tokenizer),
        size_bytes=sum(t.numel() * t.itemsize for t in (*model.parameters(), *model.buffers())),
        relay=compile_layers(parts) if compiled else None,
    )


def measure(opened: OpenedModel, dtype: torch.dtype) -> int:
    """The bytes that the parameters will take, from the config alone."""
    empty = build_empty(opened.config, opened.family)
    return sum(p.numel() for p in empty.parameters()) * dtype.itemsize


def _run_whole_blocks(config: Any) -> None:
    # Chunking runs the MLP in pieces to save memory, with the same result; capture wants a layer in
    # one.
    if getattr(config, "chunk_size_feed_forward", 0):
        config.chunk_size_feed_forward = 0


def _read_tokenizer(opened: OpenedModel) -> TextTokenizer:
    with reading_files(opened.entry, "tokenizer"):
        return read_tokenizer(opened.location, opened.options)


def _read_weights(opened: OpenedModel, dtype: torch.dtype) -> Any:
    if opened.entry.kind == "hub":
        _fetch_safetensors(opened)
    with reading_files(opened.entry, "weights"), quiet_transformers():
        model, report = auto_class(opened.family).from_pretrained(
            opened.location,
            config=opened.config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **building_options(opened.family),
            **(loading_options(opened.wrapper) if opened.wrapper else {}),
            **opened.options,
        )
    _check_report(opened, report)
    return model.eval().requires_grad_(False)


def _fetch_safetensors(opened: OpenedModel) -> None:
    # Without them, transformers would ask a service on the hub to convert the model, and wait for
    # it.
    reasons = []
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        try:
            file = cached_file(opened.location, name, revision=opened.entry.revision)
            if name == SAFE_WEIGHTS_INDEX_NAME:
                check_index(opened.entry, Path(str(file)))
            return
        except OSError as e:
            reasons.append(first_line(e))
    raise ModelLoadError(f"{opened.entry.id}: no safetensors weights to be had: {reasons[0]}")


def _check_report(opened: OpenedModel, report: Mapping[str, Any]) -> None:
    """Refuses weights that do not fit the config: what is missing would be random, what is left
    over be ignored.
    """
    entry, family = opened.entry, opened.family
    if missing := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
        raise ModelLoadError(
            f"{entry.id}: weights missing or of another shape: {name_some(missing)}"
        )
    # Beside the text model's a wrapper has layers of other kinds, under other names.
    inside = f".model.{family.layers}." if opened.wrapper else f".{family.layers}."
    if extra := sorted(
        k for k in report["unexpected_keys"] if inside in f".{k}" and not _is_old_buffer(k)
    ):
        raise ModelLoadError(
            f"{entry.id}: its layers have weights that {family.model_type} has not: "
            f"{name_some(extra)}"
        )


def _is_old_buffer(key: str) -> bool:
    """Masks and frequencies that older versions of transformers stored beside the weights."""
    return key.endswith((".attn.bias", ".attention.bias", "masked_bias", "inv_freq"))


def _make_card(opened: OpenedModel, tokenizer: TextTokenizer) -> ModelCard:
    config, family = opened.config, opened.family
    available: Literal["available", "none"] = "none" if tokenizer.first is None else "available"
    return replace(
        _blank_card(opened.entry, None),
        family=family.model_type,
        kind=family.kind,
        layers=int(config.num_hidden_layers),
        neurons=count_neurons(config, family),
        gated=family.gated,
        hidden_size=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        max_positions=count_positions(config, family),
        bos="added" if tokenizer.prefix else available,
        separator=tokenizer.separator is not None,
        sites=describe_sites(opened.empty),
    )


def _blank_card(entry: Entry, error: str | None) -> ModelCard:
    return ModelCard(
        id=entry.id,
        source=entry.source,
        family="",
        kind="decoder",
        layers=0,
        neurons=0,
        gated=False,
        hidden_size=0,
        vocabulary=0,
        max_positions=None,
        bos="none",
        separator=False,
        sites=(),
        error=error,
    )
