"""Tiny random models of every supported family, and tiny tokenizers, built in code: no download, no
stored weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, PreTrainedTokenizerFast

from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.families.architectures import FAMILIES, auto_class
from polyseme.workers.analysis.models.load import LoadedModel, load_model

LAYERS, HIDDEN, NEURONS, HEADS, VOCABULARY, POSITIONS = 3, 32, 48, 4, 512, 64

_TEXT = [
    "The quick brown fox jumps over the lazy dog. A neuron fires when its input matches what it "
    "has learnt.",
    "In 1996 the court heard 12 cases; in 2003 it heard 47. Prices rose by 3.5 % over the year, "
    "then fell again.",
    "def merge(parts): return sum(parts, start=[])  # one list out of many",
]

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": NEURONS,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": HIDDEN // HEADS}
_GPT2 = {"n_inner": NEURONS}


@dataclass(frozen=True)
class Tiny:
    """How to build one family, and how to compute its neurons by hand from the input of its MLP."""

    model_type: str
    expansion: tuple[str, ...]  # of a layer: (gate, up), (fused,) or (up,)
    activation: str  # a name in `by_hand`
    options: dict[str, Any] = field(default_factory=dict)
    neurons: int = NEURONS

    def config(self, **more: Any) -> Any:
        return AutoConfig.for_model(self.model_type, **(_COMMON | self.options | more))


_LLAMA = ("mlp.gate_proj", "mlp.up_proj")
_BERT = ("intermediate.dense",)

_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 4,
    "llama_4_scaling_beta": 0.1,
}
_LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_DISENTANGLED = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_T5 = {
    "d_ff": NEURONS,
    "d_kv": 8,
    "num_heads": HEADS,
    "num_layers": LAYERS,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
}

TINY: dict[str, Tiny] = {
    name: Tiny(name.partition("/")[0], *rest)
    for name, *rest in (
        ("llama", _LLAMA, "silu", _GROUPED | {"mlp_bias": True}),
        ("mistral", _LLAMA, "silu", _GROUPED | {"sliding_window": 8}),
        ("qwen2", _LLAMA, "silu", _GROUPED),
        ("qwen3", _LLAMA, "silu", _GROUPED),
        ("smollm3", _LLAMA, "silu", _GROUPED),
        ("phi3", ("mlp.gate_up_proj",), "silu", {"num_key_value_heads": 2}),
        ("olmo", _LLAMA, "silu", _GROUPED),
        ("olmo2", _LLAMA, "silu", _GROUPED),
        (
            "olmo3",
            _LLAMA,
            "silu",
            _GROUPED
            | {
                "sliding_window": 8,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
        ),
        (
            "granite",
            _LLAMA,
            "silu",
            {
                "num_key_value_heads": 2,
                "embedding_multiplier": 3.0,
                "attention_multiplier": 0.2,
                "residual_multiplier": 0.4,
                "logits_scaling": 5.0,
            },
        ),
        ("ministral3", _LLAMA, "silu", _GROUPED | {"rope_parameters": _YARN}),
        ("qwen3_5_text", _LLAMA, "silu", _GROUPED | _LINEAR_ATTENTION),
        ("stablelm", _LLAMA, "silu", {"num_key_value_heads": 2}),
        ("gemma", _LLAMA, "gelu_tanh", _GROUPED),
        (
            "gemma2",
            _LLAMA,
            "gelu_tanh",
            _GROUPED | {"attn_logit_softcapping": 0.5, "sliding_window": 8},
        ),
        ("gemma3_text", _LLAMA, "gelu_tanh", _GROUPED | {"sliding_window": 8}),
        ("starcoder2", ("mlp.c_fc",), "gelu_tanh", {"num_key_value_heads": 2}),
        ("gpt2", ("mlp.c_fc",), "gelu_tanh", _GPT2),
        ("gpt_bigcode", ("mlp.c_fc",), "gelu_tanh", _GPT2),
        (
            "gpt_neo",
            ("mlp.c_fc",),
            "gelu_tanh",
            {"num_layers": LAYERS, "attention_types": [[["global", "local", "global"], 1]]},
        ),
        ("gptj", ("mlp.fc_in",), "gelu_tanh", _GPT2 | {"rotary_dim": 4}),
        ("gpt_neox", ("mlp.dense_h_to_4h",), "gelu", {}),
        ("opt", ("fc1",), "relu", {"ffn_dim": NEURONS, "word_embed_proj_dim": HIDDEN}),
        (
            "opt/350m",
            ("fc1",),
            "relu",
            {"ffn_dim": NEURONS, "word_embed_proj_dim": HIDDEN // 2, "do_layer_norm_before": False},
        ),
        ("phi", ("mlp.fc1",), "gelu_tanh", {}),
        ("falcon", ("mlp.dense_h_to_4h",), "gelu", {"ffn_hidden_size": NEURONS}),
        ("bloom", ("mlp.dense_h_to_4h",), "gelu_tanh", {}, 4 * HIDDEN),
        ("bert", _BERT, "gelu", {}),
        ("bert/chunked", _BERT, "gelu", {"chunk_size_feed_forward": 1}),
        ("roberta", _BERT, "gelu", {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1}),
        (
            "xlm-roberta",
            _BERT,
            "gelu",
            {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1},
        ),
        ("electra", _BERT, "gelu", {"embedding_size": HIDDEN // 2}),
        ("mpnet", _BERT, "gelu", {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1}),
        ("distilbert", ("ffn.lin1",), "gelu", {"hidden_dim": NEURONS}),
        (
            "modernbert",
            ("mlp.Wi",),
            "gelu",
            {"local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 2},
        ),
        ("deberta", _BERT, "gelu", _DISENTANGLED),
        ("deberta-v2", _BERT, "gelu", _DISENTANGLED),
        (
            "deberta-v2/v3",
            _BERT,
            "gelu",
            _DISENTANGLED
            | {
                "position_buckets": 4,
                "share_att_key": True,
                "norm_rel_ebd": "layer_norm",
                "conv_kernel_size": 3,
                "conv_act": "gelu",
            },
        ),
        ("t5", ("layer.1.DenseReluDense.wi",), "relu", _T5),
        (
            "t5/v1.1",
            ("layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"),
            "gelu_tanh",
            _T5 | {"feed_forward_proj": "gated-gelu"},
        ),
    )
}


def build_model(tiny: Tiny, *, seed: int = 0, **options: Any) -> Any:
    """With random numbers in every parameter, biases and norms included, so that leaving one out
    shows.
    """
    config = tiny.config(**options)
    torch.manual_seed(seed)
    model = auto_class(FAMILIES[tiny.model_type]).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape) * 0.3
            parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
    return model.eval()


def save_model(
    name: str, folder: Path, *, tokenizer: Any = None, seed: int = 0, **options: Any
) -> Entry:
    """Writes a tiny model and its tokenizer, and gives the catalogue entry that points there."""
    tiny = TINY[name]
    build_model(tiny, seed=seed, **options).save_pretrained(str(folder))
    (tokenizer or tokenizer_for(tiny)).save_pretrained(str(folder))
    return Entry(f"tiny-{name.replace('/', '-')}", "path", str(folder))


def load_tiny(
    name: str, folder: Path, *, tokenizer: Any = None, seed: int = 0, **options: Any
) -> LoadedModel:
    """A tiny model as a worker loads it, on the CPU in float32."""
    entry = save_model(name, folder, tokenizer=tokenizer, seed=seed, **options)
    return load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Changes the weights of a saved model, which it gets by their names in the file."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def spoil_neurons(folder: Path, layer: int, neurons: Sequence[int]) -> None:
    """Makes neurons of a saved llama NaN and infinite by turns."""

    def spoil(weights: dict[str, torch.Tensor]) -> None:
        up = weights[f"model.layers.{layer}.mlp.up_proj.weight"]
        up[list(neurons[::2])], up[list(neurons[1::2])] = torch.nan, torch.inf

    change_weights(folder, spoil)


def tokenizer_for(tiny: Tiny) -> Any:
    return framed_tokenizer() if tiny.model_type in _ENCODERS else plain_tokenizer()


def plain_tokenizer() -> Any:
    """Byte-level, GPT-2's kind: adds nothing around a text; "<|end|>" begins and ends one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _train(
        tokenizer,
        trainers.BpeTrainer,
        ["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    return _wrap(tokenizer, bos_token="<|end|>", eos_token="<|end|>")


def bos_tokenizer() -> Any:
    """SentencePiece-like, Llama 2's kind: puts "<s>" before a text; unknown characters fall apart
    into bytes.
    """
    specials = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    _train(tokenizer, trainers.BpeTrainer, specials + [f"<0x{i:02X}>" for i in range(256)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return _wrap(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def framed_tokenizer() -> Any:
    """WordPiece, BERT's kind: [CLS] text [SEP]."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _train(tokenizer, trainers.WordPieceTrainer, specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return _wrap(tokenizer, **dict(zip(roles, specials, strict=True)))


def _train(
    tokenizer: Tokenizer, trainer: Callable[..., Any], specials: list[str], **options: Any
) -> None:
    # Byte tokens are ordinary vocabulary, but a trainer takes given tokens as special ones only.
    given = [AddedToken(s, special=True) for s in specials]
    tokenizer.train_from_iterator(
        _TEXT, trainer(vocab_size=400, special_tokens=given, show_progress=False, **options)
    )


def _wrap(tokenizer: Tokenizer, **roles: str) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


_ENCODERS = {name for name, family in FAMILIES.items() if family.kind == "encoder"}

transformers.utils.logging.disable_progress_bar()
