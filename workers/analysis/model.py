"""Models from the catalogue: what one is, its weights in memory, and a shelf that keeps some of them there.

Reads configs, tokenizers and safetensors files; never pickles, never code that comes with a model.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils import logging as transformers_logging

from contract.catalogue import Entry
from contract.errors import ModelLoadError, PolysemeError
from contract.records import ModelCard
from workers.analysis import families, framing
from workers.analysis.cached_folder import make_once
from workers.analysis.compiled import Relay, compile_layers
from workers.analysis.families import Family
from workers.analysis.limits import device_memory

OnLoad = Callable[[str, float], None]

_NAMES = ("dtype", "torch_dtype", "transformers_version")  # in a config, of what does not decide how a model runs

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory, in evaluation mode, ready for `run_block` and `logit_lens`."""

    card: ModelCard
    family: Family
    body: nn.Module  # without its head
    blocks: tuple[nn.Module, ...]  # the layers
    inputs: tuple[tuple[nn.Module, ...], ...]  # the MLP's input projections of each layer
    projections: tuple[nn.Module, ...]  # the MLP's output projection of each layer
    post_norms: tuple[nn.Module | None, ...]  # one a layer, see Family.post_norm
    norm: nn.Module | None  # before the unembedding; None for encoders, and where there is none
    unembedding: Tensor | None  # (vocabulary, hidden); None for encoders
    tokenizer: Any
    vocabulary: list[str]  # the text of each token id
    device: torch.device
    dtype: torch.dtype
    config_sha256: str  # over its settings, without its name and the versions that wrote them
    weights_sha256: str  # over every parameter as loaded: name, dtype, shape, bytes
    tokenizer_sha256: str  # over the tokenizer's definition and its special tokens
    size_bytes: int  # of parameters and buffers
    relay: Relay | None  # of a model whose layers are compiled


@dataclass(frozen=True, eq=False)
class _Opened:
    """A model whose config has been read and is known."""

    entry: Entry
    location: str  # a hub id or a folder
    options: Mapping[str, Any]  # of every from_pretrained
    config: Any
    family: Family


def describe_model(entry: Entry, cache: Path) -> ModelCard:
    """The model's card, from its config and tokenizer. A model that cannot be analysed has the reason in its `error`.

    A GGUF file is converted into the cache first, once.
    """
    try:
        return _describe(_open(entry, cache))[0]
    except PolysemeError as e:
        return _blank_card(entry, str(e))


def load_model(entry: Entry, *, device: str, dtype: str, cache: Path, compiled: bool = False) -> LoadedModel:
    """device: as torch names it, or "auto" for CUDA where there is one; dtype: of weights and activations; compiled:
    whether torch.compile makes the layers faster, which changes the last bits.

    Raises ModelLoadError and UnsupportedArchitecture.
    """
    return _load(_open(entry, cache), resolve_device(device), resolve_dtype(dtype), compiled)


def input_energy(model: LoadedModel, layer: int) -> Tensor:
    """The squared input weights of each neuron of a layer, summed over its gate and up side: (N, D) float32.

    With x the MLP's input, sum_d x_d y_d energy[j, d] is the inner product of two tokens' x * w side by side for neuron
    j's gate and up weights w. Source: Foote 2024.
    """
    squares = []
    for module in model.inputs[layer]:
        weight: Any = module.weight
        rows = weight if isinstance(module, nn.Linear) else weight.T  # a Conv1D holds its matrix transposed
        squares.append(rows.float() ** 2)
    return torch.cat(squares).unflatten(0, (-1, model.card.neurons)).sum(0)


def resolve_device(name: str) -> torch.device:
    """Raises ModelLoadError for a device that this machine has not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ModelLoadError(f"device {name!r}: not on this machine; use auto, cpu, cuda or cuda:N") from e
    return device


def resolve_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ModelLoadError(f"dtype {name!r}: use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def hash_parameters(model: nn.Module) -> str:
    """SHA-256 over name, dtype, shape and bytes of every parameter, by name; tied ones count once."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_config(config: Any) -> str:
    """SHA-256 over a config's settings: two models of the same weights may run differently."""
    settings = {k: v for k, v in config.to_dict().items() if not k.startswith("_") and k not in _NAMES}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def hash_tokenizer(tokenizer: Any) -> str:
    """SHA-256 over the tokenizer's JSON, without limits on length, and the ids of its special tokens by role."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    roles = {name: tokenizer.convert_tokens_to_ids(t) for name, t in sorted(_roles(tokenizer).items())}
    return hashlib.sha256(f"{backend.to_str()}\n{json.dumps(roles)}".encode()).hexdigest()


class ModelShelf:
    """Loaded models, kept between jobs. The one unused longest goes when the next would not fit. For one thread."""

    def __init__(
        self,
        budget_bytes: int,
        *,
        device: str,
        dtype: str,
        cache: Path,
        compiled: bool = False,
        on_load: OnLoad = lambda model, seconds: None,
    ) -> None:
        """budget_bytes: of weights; 0 is half of the device's memory. on_load: told of every load and its seconds."""
        self.device, self.dtype, self._cache = resolve_device(device), resolve_dtype(dtype), cache
        self._compiled = compiled
        self._budget = budget_bytes or device_memory(self.device) // 2
        self._on_load = on_load
        self._models: OrderedDict[Entry, LoadedModel] = OrderedDict()

    def get(self, entry: Entry) -> LoadedModel:
        """The model, loaded if it is not there. Raises what `load_model` raises, and ModelLoadError if it alone is
        larger than the budget."""
        if entry not in self._models:
            began = time.monotonic()
            opened = _open(entry, self._cache)
            self._make_room(entry, _measure(opened, self.dtype))
            self._models[entry] = _load(opened, self.device, self.dtype, self._compiled)
            self._on_load(entry.id, time.monotonic() - began)
        self._models.move_to_end(entry)
        return self._models[entry]

    @property
    def held(self) -> tuple[Entry, ...]:
        """The models in memory, the one unused longest first."""
        return tuple(self._models)

    def sizes(self) -> list[int]:
        """Bytes of each model in memory. From any thread."""
        return [model.size_bytes for model in tuple(self._models.values())]

    def _make_room(self, entry: Entry, needed: int) -> None:
        if needed > self._budget:
            raise ModelLoadError(
                f"{entry.id}: its weights take {_gigabytes(needed)}, a worker keeps at most {_gigabytes(self._budget)}"
            )
        while self._models and needed + sum(m.size_bytes for m in self._models.values()) > self._budget:
            self._models.popitem(last=False)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


# Where the files are


def _open(entry: Entry, cache: Path) -> _Opened:
    location = locate_model(entry, cache)
    where = {"revision": entry.revision} if entry.kind == "hub" else {"local_files_only": True}
    options = {"trust_remote_code": False, **where}
    # The raw file first: transformers wants to run a model's own code when it does not know the model_type.
    with _reading(entry, "config"):
        families.look_up(PretrainedConfig.get_config_dict(location, **options)[0])
        config = AutoConfig.from_pretrained(location, **options)
        _run_whole_blocks(config)
        return _Opened(entry, location, options, config, families.find_family(config))


def locate_model(entry: Entry, cache: Path) -> str:
    """What from_pretrained takes: a hub id, or a folder; a GGUF file is converted into the cache first, once.

    Raises ModelLoadError when there is nothing that may be loaded.
    """
    if entry.kind == "hub":
        return entry.location
    if entry.kind == "gguf":
        return str(_converted(entry, cache))
    _check_folder(entry)
    return entry.location


def _check_folder(entry: Entry) -> None:
    folder = Path(entry.location)
    if not folder.is_dir():
        raise ModelLoadError(f"{entry.id}: there is no folder {folder}")
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"{entry.id}: {folder} has no config.json")
    if any(folder.glob("*.safetensors")):
        _check_index(entry, folder / SAFE_WEIGHTS_INDEX_NAME)
        return
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    found = "pickled weights only, which are never read" if pickled else "no weights"
    raise ModelLoadError(f"{entry.id}: {folder} has {found}; expected a .safetensors file")


def _check_index(entry: Entry, index: Path) -> None:
    """Refuses an index that names other files than shards: transformers would open them, pickles too, anywhere."""
    if not index.is_file():
        return
    with _reading(entry, "index of weights"):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    if wrong := sorted(n for n in names if not n.endswith(".safetensors") or Path(n).name != n):
        raise ModelLoadError(f"{entry.id}: its index names {wrong[0][:80]!r}, which is no .safetensors file beside it")


def _converted(entry: Entry, cache: Path) -> Path:
    """The folder in the cache with the GGUF file's model as safetensors; made if it is not there."""
    file = Path(entry.location)
    if not file.is_file():
        raise ModelLoadError(f"{entry.id}: there is no file {file}")
    with _reading(entry, "GGUF file"), file.open("rb") as f:
        folder = cache / "models" / hashlib.file_digest(f, "sha256").hexdigest()
        make_once(folder, lambda target: _convert(file, target))
    return folder


def _convert(file: Path, target: Path) -> None:
    source = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **source)
    with _quiet_transformers():
        model: Any = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.float32, **source)
        _forget_quantisation(model)
        model.save_pretrained(str(target))
    tokenizer.save_pretrained(str(target))


def _forget_quantisation(model: Any) -> None:
    # The weights are unpacked by now, but transformers refuses to save a model that still says it is quantised.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("is_quantized", "hf_quantizer", "quantization_method"):
        if name in vars(model):
            delattr(model, name)


# What the files say


def _describe(opened: _Opened) -> tuple[ModelCard, Any]:
    """The card and the tokenizer."""
    tokenizer = _read_tokenizer(opened)
    with _reading(opened.entry, "tokenizer"):
        card = _make_card(opened, tokenizer)
        largest = framing.largest_text_id(tokenizer)
    if largest >= card.vocabulary:
        raise ModelLoadError(f"{card.id}: its tokenizer has the id {largest}, its embedding {card.vocabulary} rows")
    return card, tokenizer


def _load(opened: _Opened, device: torch.device, dtype: torch.dtype, compiled: bool) -> LoadedModel:
    card, tokenizer = _describe(opened)
    model = _read_weights(opened, dtype)
    weights_sha256 = hash_parameters(model)
    with _reading(opened.entry, f"weights into {device}"):
        model.to(device)
    parts = families.find_parts(opened.family, model)
    return LoadedModel(
        card=card,
        family=opened.family,
        body=parts.body,
        blocks=parts.blocks,
        inputs=parts.inputs,
        projections=parts.projections,
        post_norms=parts.post_norms,
        norm=parts.norm,
        unembedding=parts.unembedding,
        tokenizer=tokenizer,
        vocabulary=framing.vocabulary(tokenizer, card.vocabulary),
        device=device,
        dtype=dtype,
        config_sha256=hash_config(opened.config),
        weights_sha256=weights_sha256,
        tokenizer_sha256=hash_tokenizer(tokenizer),
        size_bytes=sum(t.numel() * t.itemsize for t in (*model.parameters(), *model.buffers())),
        relay=compile_layers(parts.blocks, parts.projections) if compiled else None,
    )


def _measure(opened: _Opened, dtype: torch.dtype) -> int:
    """The bytes that the parameters will take, from the config alone."""
    empty = families.build_empty(opened.config, opened.family)
    return sum(p.numel() for p in empty.parameters()) * dtype.itemsize


def _run_whole_blocks(config: Any) -> None:
    # Chunking runs the MLP in pieces to save memory, with the same result; capture wants a layer in one.
    if getattr(config, "chunk_size_feed_forward", 0):
        config.chunk_size_feed_forward = 0


def _read_tokenizer(opened: _Opened) -> Any:
    with _reading(opened.entry, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(opened.location, **opened.options)
    if not tokenizer.is_fast:
        raise ModelLoadError(f"{opened.entry.id}: its tokenizer cannot tell where in the text a token stands")
    return tokenizer


def _read_weights(opened: _Opened, dtype: torch.dtype) -> Any:
    if opened.entry.kind == "hub":
        _fetch_safetensors(opened)
    with _reading(opened.entry, "weights"), _quiet_transformers():
        model, report = families.auto_class(opened.family).from_pretrained(
            opened.location,
            config=opened.config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **families.building_options(opened.family),
            **opened.options,
        )
    _check_report(opened.entry, opened.family, report)
    return model.eval().requires_grad_(False)


def _fetch_safetensors(opened: _Opened) -> None:
    # Without them, transformers would ask a service on the hub to convert the model, and wait for it.
    reasons = []
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        try:
            found = cached_file(opened.location, name, revision=opened.entry.revision)
            if name == SAFE_WEIGHTS_INDEX_NAME:
                _check_index(opened.entry, Path(str(found)))
            return
        except OSError as e:
            reasons.append(_first_line(e))
    raise ModelLoadError(f"{opened.entry.id}: no safetensors weights to be had: {reasons[0]}")


def _check_report(entry: Entry, family: Family, report: Mapping[str, Any]) -> None:
    """Refuses weights that do not fit the config: what is missing would be random, what is left over be ignored."""
    if missing := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
        raise ModelLoadError(f"{entry.id}: weights missing or of another shape: {_sample(missing)}")
    inside = f".{family.layers}."
    if extra := sorted(k for k in report["unexpected_keys"] if inside in f".{k}" and not _is_old_buffer(k)):
        raise ModelLoadError(f"{entry.id}: its layers have weights that {family.model_type} has not: {_sample(extra)}")


def _is_old_buffer(key: str) -> bool:
    """Masks and frequencies that older versions of transformers stored beside the weights."""
    return key.endswith((".attn.bias", ".attention.bias", "masked_bias", "inv_freq"))


def _make_card(opened: _Opened, tokenizer: Any) -> ModelCard:
    config, family = opened.config, opened.family
    available: Literal["available", "none"] = "none" if framing.first_token(tokenizer) is None else "available"
    return replace(
        _blank_card(opened.entry, None),
        family=family.model_type,
        kind=family.kind,
        layers=int(config.num_hidden_layers),
        neurons=families.count_neurons(config, family),
        gated=family.gated,
        hidden_size=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        max_positions=families.count_positions(config, family),
        bos="added" if framing.added_around(tokenizer)[0] else available,
        separator=framing.separator_token(tokenizer) is not None,
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
        hooks="blocks.{layer}.mlp.hook_post",
        bos="none",
        separator=False,
        error=error,
    )


@contextmanager
def _reading(entry: Entry, what: str) -> Iterator[None]:
    """Turns whatever a library raises over a model's files into a ModelLoadError."""
    try:
        yield
    except PolysemeError:
        raise
    except Exception as e:  # Parsers of files from anywhere raise anything: OSError, KeyError, SafetensorError, ...
        raise ModelLoadError(f"{entry.id}: cannot read its {what}: {_first_line(e)}") from e


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its progress bars and load reports: what they say is checked here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _roles(tokenizer: Any) -> dict[str, str]:
    return {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


def _sample(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
