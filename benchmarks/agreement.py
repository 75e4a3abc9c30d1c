"""What is computed here against what the model itself computes: every family, in both formats.

Tiny models are built, saved and loaded as workers load them. Token ids must be those of the
tokenizer.json alone; activations, of documents that run side by side, must be those that hooks
find in the original model, in float64, one document at a time, within 1e-4 of a neuron's largest;
where float32 loses more than that, in float32. What is refused says so. GGUF files are also held
against llama.cpp where the package xllamacpp is installed: the token ids, and the last hidden
states as a share of the largest.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGUFWriter
from tokenizers import AddedToken, Tokenizer, processors

from benchmarks.llama_cpp import is_installed, run_llama_cpp
from benchmarks.markdown import table
from polyseme.commands import samples
from polyseme.contract.errors import PolysemeError
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import Contexts, Tokens
from polyseme.workers.analysis.corpus.plan import cut_windows, group_blocks
from polyseme.workers.analysis.corpus.windows import Window, pack, unpack
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokens import frame, tokenize
from polyseme.workers.analysis.scan.statistics.block import Block
from polyseme.workers.analysis.sites import mlp
from tests import gguf_files
from tests.tiny_models import TINY, Tiny, build_model, tokenizer_for

_LINES = (
    "The quick brown fox jumps over the lazy dog; in 1996 it cost 3.5 % more, they'll say.\n",
    "def merge(parts):\n    if  parts:\n\t\treturn   sum(parts)  # one list\r\n\r\n",
    "神经元在输入与其所学相符时放电，例如“水”和“火”。 日本語のテキスト、カタカナ。 ",
    "الخلايا العصبية تنطلق عندما تتطابق المدخلات. שלום עולם, הנוירון יורה. ",
    "Tiê\u0301ng Viê\u0323t co\u0301 nhiê\u0300u dâ\u0301u. naïve café ",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈 🙂🙂   two   spaces    and\u00a0more"
    " <|end|> council [SEP] </s>\n",
)
TEXT = ("".join(_LINES) * 5)[:2000]
LARGEST = 1e-4  # of a neuron's largest activation
_WORDS = ("council", "naïve", "<0x>", "日本")
_POSITIONS = 128
_WINDOW = 48


@dataclass(frozen=True)
class Case:
    family: str  # a key of TINY
    format: str
    variant: str


@dataclass(frozen=True)
class Outcome:
    state: str  # "equal", "refused" or "DIFFERS"
    detail: str


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--families", nargs="*", default=list(TINY), help="of which: all")


def run(options: argparse.Namespace) -> str:
    cases = list_cases(options.families)
    rows, states = [], Counter[str]()
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            outcome = judge(case, Path(folder))
        states[outcome.state] += 1
        rows.append([case.family, case.format, case.variant, outcome.state, outcome.detail])
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if is_installed():
        rows.append(_judge_sample())
    library = "" if is_installed() else " llama.cpp is not installed."
    header = ["family", "format", "variant", "state", "largest difference, or why"]
    return f"{len(cases)} cases: {said}.{library}\n\n{table(header, rows)}"


def list_cases(families: Sequence[str]) -> list[Case]:
    found = []
    for family in families:
        found += [Case(family, "safetensors", variant) for variant in (*_TOKENS, *_ropes(family))]
        if family.partition("/")[0] in gguf_files.ARCHITECTURES:
            found += [Case(family, "GGUF", variant) for variant in (*_TOKENS, *_ropes(family))]
    return found


# Tokenizers -----------------------------------------------------------------------------------


def _begins_texts(tokenizer: Any) -> None:
    """A decoder's too: "<|end|>" in front."""
    if tokenizer.bos_token is not None:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokenizer.bos_token} $A",
            special_tokens=[(tokenizer.bos_token, tokenizer.bos_token_id)],
        )


def _added_tokens(tokenizer: Any) -> None:
    _begins_texts(tokenizer)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in _WORDS])


def _without_bos(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    tokenizer.bos_token = None


def _two_roles(tokenizer: Any) -> None:
    """Padding is also the unknown token, and what ends a text also begins one."""
    _begins_texts(tokenizer)
    if tokenizer.unk_token is None:
        tokenizer.unk_token = tokenizer.eos_token
    tokenizer.pad_token = tokenizer.unk_token


_TOKENS: dict[str, Callable[[Any], None]] = {
    "plain": _begins_texts,
    "added tokens": _added_tokens,
    "no BOS": _without_bos,
    "two roles": _two_roles,
}

# Rotations ------------------------------------------------------------------------------------

_FACTORS = [1.0, 1.5, 4.0, 8.0]
_ROPES: dict[str, dict[str, Any]] = {
    "linear RoPE": {"rope_type": "linear", "factor": 4.0},
    "yarn RoPE": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    "Llama 3.1 RoPE": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}
_ROTATED = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo", "olmo2", "starcoder2")
_ROTATED += ("stablelm", "gpt_neox", "phi", "gemma", "falcon")


def _ropes(family: str) -> tuple[str, ...]:
    return tuple(_ROPES) if family in _ROTATED else ()


def _rope_keys(writer: GGUFWriter, variant: str) -> None:
    if variant == "linear RoPE":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)
    elif variant == "yarn RoPE":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(16)


# Building, running and comparing --------------------------------------------------------------


def judge(case: Case, folder: Path) -> Outcome:
    tiny = TINY[case.family]
    tokenizer = tokenizer_for(tiny)
    _TOKENS.get(case.variant, _begins_texts)(tokenizer)
    original = _build(tiny, tokenizer, case)
    tokenizer.save_pretrained(str(folder / "original"))
    try:
        entry = _save(case, original, tokenizer, folder)
        model = load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")
    except PolysemeError as e:
        return Outcome("refused", str(e).removeprefix("tiny: "))
    file = Tokenizer.from_file(str(folder / "original" / "tokenizer.json"))
    file.encode_special_tokens = True
    return _compare(case, original, model, file, entry)


def _build(tiny: Tiny, tokenizer: Any, case: Case) -> Any:
    options: dict[str, Any] = {
        "vocab_size": max(512, max(tokenizer.get_vocab().values()) + 1),
        "max_position_embeddings": _POSITIONS + 2,
    }
    if case.format == "GGUF":
        options["vocab_size"] = max(tokenizer.get_vocab().values()) + 1
        options["max_position_embeddings"] = _POSITIONS
        options |= _GGUF_OPTIONS.get(case.family, {})
    if case.variant in _ROPES:
        rope = getattr(tiny.config(), "rope_parameters", None) or {}
        options["rope_parameters"] = {**rope, "rope_theta": 10_000.0} | _ROPES[case.variant]
    return build_model(tiny, **options)


# A file says nothing of a Gemma's query_pre_attn_scalar; models of this many layers are known.
_GGUF_OPTIONS = {
    "mistral": {"sliding_window": None},
    "gemma2": {"num_hidden_layers": 26, "query_pre_attn_scalar": 8},
    "gemma3_text": {"num_hidden_layers": 26, "query_pre_attn_scalar": 8},
}


def _save(case: Case, original: Any, tokenizer: Any, folder: Path) -> Entry:
    if case.format == "safetensors":
        original.save_pretrained(str(folder / "original"))
        return Entry("tiny", "path", str(folder / "original"))
    path = folder / "model.gguf"
    gguf_files.write_gguf(
        path,
        original,
        tokenizer,
        more=lambda writer: _rope_keys(writer, case.variant),
        tensors=_rope_tensors(original, case.variant),
    )
    return Entry("tiny", "gguf", str(path))


def _rope_tensors(original: Any, variant: str) -> Mapping[str, np.ndarray]:
    """As llama.cpp's converter writes Llama 3.1's factors: how much slower each pair turns."""
    if variant != "Llama 3.1 RoPE":
        return {}
    scaled = original.base_model.rotary_emb.inv_freq
    theta = original.config.rope_parameters["rope_theta"]
    plain = 1.0 / theta ** (np.arange(0, 2 * len(scaled), 2) / (2 * len(scaled)))
    return {"rope_freqs.weight": (plain / scaled.numpy()).astype(np.float32)}


def _compare(
    case: Case, original: Any, model: LoadedModel, file: Tokenizer, entry: Entry
) -> Outcome:
    [(ids, _, _)] = tokenize(model.tokenizer, [TEXT])
    if ids.tolist() != file.encode(TEXT, add_special_tokens=False).ids:
        return Outcome("DIFFERS", "token ids of the text")
    framing = frame(model.tokenizer, model.card, "model")
    if [*framing.prefix, *framing.suffix] != file.encode("").ids:
        return Outcome("DIFFERS", "token ids around the text")
    documents = [text for text in _documents() if file.encode(text, add_special_tokens=False).ids]
    ours = _run_here(model, documents)
    ids_of = [file.encode(text).ids for text in documents]
    single = copy.deepcopy(original)
    worst = _furthest(ours, _run_there(original.double(), model, ids_of))
    detail = f"{worst:.1e}"
    if worst >= LARGEST:
        # Some models lose more than that to float32 themselves.
        worst = _furthest(ours, _run_there(single, model, ids_of))
        detail += f" of float64, {worst:.1e} of float32"
    if case.format == "GGUF" and is_installed():
        detail += f"; llama.cpp: {_against_llama_cpp(entry, model)}"
    return Outcome("equal" if worst < LARGEST else "DIFFERS", detail)


def _documents() -> list[str]:
    """The whole text in pieces of many lengths, each within one window."""
    found, at, size = [], 0, 1
    while at < len(TEXT):
        found.append(TEXT[at : at + size])
        at, size = at + size, size % 11 + 1
    return found


def _run_here(model: LoadedModel, texts: Sequence[str]) -> list[list[np.ndarray]]:
    """Of each layer, each document's activations (tokens, neurons), special tokens included."""
    framing = frame(model.tokenizer, model.card, "model")
    windows: list[Window] = list(
        cut_windows(
            texts,
            lambda batch: tokenize(model.tokenizer, batch),
            framing,
            Contexts(window=_WINDOW),
            Tokens(exclude_special=False),
        )
    )
    layers = range(model.card.layers)
    found: dict[tuple[int, int], np.ndarray] = {}
    points = mlp.SITE.points(model.parts, layers)
    for group in group_blocks(windows, block_tokens=8 * _WINDOW):
        block = Block(unpack(pack(group)), 0, framing.pad, model.device)

        def receive(layer: int, values: torch.Tensor, group: list[Window] = group) -> None:
            for row, window in enumerate(group):
                place = layer, int(window.documents[0])
                assert place not in found, "a document of several windows"
                found[place] = values[row, : len(window)].double().numpy()

        mask = block.inside.to(torch.int64) if model.card.kind == "encoder" else None
        run_block(model, block.ids, mask, points, receive)
    return [[found[layer, document] for document in range(len(texts))] for layer in layers]


def _run_there(
    original: Any, model: LoadedModel, documents: Sequence[list[int]]
) -> list[list[np.ndarray]]:
    """As hooks on the original's output projections find them, one document at a time."""
    family = model.parts.family
    body = original.base_model if family.kind == "decoder" else original
    layers: Any = body.get_submodule(family.layers)
    kept: list[list[np.ndarray]] = [[] for _ in layers]
    for layer, rows in zip(layers, kept, strict=True):
        layer.get_submodule(family.projection).register_forward_pre_hook(
            lambda _m, inputs, rows=rows: rows.append(
                inputs[0].reshape(-1, inputs[0].shape[-1]).numpy().copy()
            )
        )
    with torch.inference_mode():
        for ids in documents:
            body(input_ids=torch.tensor([ids]))
    return kept


def _furthest(ours: Sequence[list[np.ndarray]], theirs: Sequence[list[np.ndarray]]) -> float:
    layers = zip(ours, theirs, strict=True)
    return max(_relative(np.concatenate(a), np.concatenate(b)) for a, b in layers)


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Both (tokens, neurons): the largest difference, as a share of its neuron's largest; of one
    that never fires as it is.
    """
    largest = np.abs(theirs).max(axis=0)
    return float((np.abs(ours - theirs).max(axis=0) / np.where(largest > 0, largest, 1)).max())


# llama.cpp ------------------------------------------------------------------------------------


def _against_llama_cpp(entry: Entry, model: LoadedModel) -> str:
    short = TEXT[:24]
    try:
        ids, states = run_llama_cpp(Path(entry.location), TEXT, short)
    except ValueError as e:
        return f"does not run it: {e}"
    found = tokenize(model.tokenizer, [TEXT, short])
    said = "ids equal" if ids == found[0][0].tolist() else "ids differ"
    framing = frame(model.tokenizer, model.card, "model")
    ours = [*framing.prefix, *found[1][0].tolist(), *framing.suffix]
    with torch.inference_mode():
        hidden = model.parts.body(input_ids=torch.tensor([ours])).last_hidden_state[0].numpy()
    if hidden.shape != states.shape:
        return f"{said}, {len(states)} tokens where there are {len(hidden)}"
    return f"{said}, states {np.abs(hidden - states).max() / np.abs(hidden).max():.1e}"


def _judge_sample() -> list[str]:
    """The sample model's own file, which others made, against llama.cpp alone."""
    entry = Entry("sample", "gguf", str(samples.find_model()))
    with tempfile.TemporaryDirectory() as cache:
        model = load_model(entry, device="cpu", dtype="float32", cache=Path(cache))
        said = _against_llama_cpp(entry, model)
    return [Path(entry.location).name, "GGUF", "real", "", f"llama.cpp: {said}"]
