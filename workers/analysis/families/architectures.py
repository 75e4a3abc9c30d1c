"""The table of the architectures that are known for certain. Knows configs, not modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTextEncoding

from polyseme.contract.errors import UnsupportedArchitecture

NormKind = Literal["layer", "rms", "rms_plus_one"]


@dataclass(frozen=True)
class Family:
    """One architecture.

    Paths are dotted; those of a layer's parts start at the layer, the others at the body.
    """

    model_type: str  # transformers' name
    kind: Literal["decoder", "encoder"]
    layers: str  # the list of layers
    projection: str  # of a layer: the MLP's output projection
    gated: bool  # its input is act(gate) * up
    inputs: tuple[
        str, ...
    ]  # of a layer: the MLP's input projections, gate before up; one may hold both in that order
    activation: str  # of a layer: the MLP's activation function
    width: str | None = (
        # the config's field with the neurons of a layer; None: four times hidden
        "intermediate_size"
    )
    norm: str = ""  # the last norm before the unembedding; "" for encoders
    norm_kind: NormKind = "layer"  # rms_plus_one: the norm multiplies by 1 + weight
    post_norm: str | None = (
        # of a layer: the norm that the MLP's output passes before it joins the residual stream
        None
    )
    attention: tuple[str, ...] = (
        # of a layer: the attention's output projection; layers may have different ones
        ("self_attn.o_proj",)
    )
    attention_norm: str | None = (
        # of a layer: the norm that the attention's output passes before it joins the residual
        # stream
        None
    )
    middle: str = (
        # of a layer: what the residual stream enters between attention and MLP
        "post_attention_layernorm"
    )
    parallel: bool = False  # attention and MLP read the same residual stream: it has no middle
    norms_after: bool = False  # a norm stands behind each sum, and the residual stream is normed
    positions: str | None = (
        "max_position_embeddings"  # the config's field with the tokens a window may have
    )
    offset_positions: bool = False  # tokens are numbered from the padding token's id + 1
    sdpa: bool = (
        True  # False: transformers has only the eager attention, or sdpa would leave something out
    )
    pooler: bool = False  # the body takes add_pooling_layer
    # The encoder of an encoder-decoder, which is loaded without its decoder.
    encoder_part: bool = False
    residual_factor: str | None = (
        None  # the config's field with what the MLP's output is multiplied by
    )
    logit_divisor: str | None = None  # the config's field with what logits are divided by


def _gated(model_type: str, **more: Any) -> Family:
    """The shape Llama set: RMS norms, `mlp.down_proj` over act(gate) * up."""
    parts: dict[str, Any] = {
        "layers": "layers",
        "inputs": ("mlp.gate_proj", "mlp.up_proj"),
        "activation": "mlp.act_fn",
        "projection": "mlp.down_proj",
        "norm": "norm",
        "norm_kind": "rms",
    }
    return Family(model_type, "decoder", gated=True, **parts | more)


def _plain(
    model_type: str,
    layers: str,
    wide: str,
    activation: str,
    projection: str,
    norm: str,
    **more: Any,
) -> Family:
    parts: dict[str, Any] = {"inputs": (wide,), "activation": activation, "norm": norm}
    return Family(model_type, "decoder", layers, projection, gated=False, **parts | more)


def _encoder(model_type: str, **more: Any) -> Family:
    parts: dict[str, Any] = {
        "layers": "encoder.layer",
        "gated": False,
        "inputs": ("intermediate.dense",),
        "activation": "intermediate.intermediate_act_fn",
        "projection": "output.dense",
        "attention": ("attention.output.dense",),
        "norms_after": True,
        "pooler": True,
    }
    return Family(model_type, "encoder", **parts | more)


_POST_NORMS: dict[str, Any] = {
    "attention_norm": "post_attention_layernorm",
    "post_norm": "post_feedforward_layernorm",
}
_GEMMA_2: dict[str, Any] = _POST_NORMS | {
    "norm_kind": "rms_plus_one",
    "middle": "pre_feedforward_layernorm",
}
_GPT2 = ("h", "mlp.c_fc", "mlp.act", "mlp.c_proj", "ln_f")
_GPT2_ATTENTION: dict[str, Any] = {"attention": ("attn.c_proj",), "middle": "ln_2"}

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        _gated("llama"),
        _gated("mistral"),
        _gated("qwen2"),
        _gated("qwen3"),
        _gated("smollm3"),
        _gated("phi3", inputs=("mlp.gate_up_proj",), activation="mlp.activation_fn"),
        _gated("olmo", norm_kind="layer"),
        _gated("olmo2", **_POST_NORMS, middle="mlp"),
        _gated("olmo3", **_POST_NORMS, middle="mlp"),
        _gated("granite", residual_factor="residual_multiplier", logit_divisor="logits_scaling"),
        _gated("ministral3"),
        _gated(
            "qwen3_5_text",
            norm_kind="rms_plus_one",
            attention=("self_attn.o_proj", "linear_attn.out_proj"),
        ),
        _gated("stablelm", norm_kind="layer"),
        _gated("gemma", norm_kind="rms_plus_one"),
        _gated("gemma2", **_GEMMA_2, sdpa=False),
        _gated("gemma3_text", **_GEMMA_2),
        _plain("starcoder2", "layers", "mlp.c_fc", "mlp.act", "mlp.c_proj", "norm"),
        _plain("gpt2", *_GPT2, **_GPT2_ATTENTION, width="n_inner"),
        _plain("gpt_bigcode", *_GPT2, **_GPT2_ATTENTION, width="n_inner"),
        _plain(
            "gpt_neo", *_GPT2, attention=("attn.attention.out_proj",), middle="ln_2", sdpa=False
        ),
        _plain(
            "gptj",
            "h",
            "mlp.fc_in",
            "mlp.act",
            "mlp.fc_out",
            "ln_f",
            attention=("attn.out_proj",),
            parallel=True,
            width="n_inner",
            sdpa=False,
        ),
        _plain(
            "gpt_neox",
            "layers",
            "mlp.dense_h_to_4h",
            "mlp.act",
            "mlp.dense_4h_to_h",
            "final_layer_norm",
            attention=("attention.dense",),
        ),
        _plain(
            "opt",
            "decoder.layers",
            "fc1",
            "activation_fn",
            "fc2",
            "decoder.final_layer_norm",
            attention=("self_attn.out_proj",),
            middle="final_layer_norm",
            width="ffn_dim",
        ),
        _plain(
            "phi",
            "layers",
            "mlp.fc1",
            "mlp.activation_fn",
            "mlp.fc2",
            "final_layernorm",
            attention=("self_attn.dense",),
            parallel=True,
        ),
        _plain(
            "falcon",
            "h",
            "mlp.dense_h_to_4h",
            "mlp.act",
            "mlp.dense_4h_to_h",
            "ln_f",
            attention=("self_attention.dense",),
            width="ffn_hidden_size",
        ),
        _plain(
            "bloom",
            "h",
            "mlp.dense_h_to_4h",
            "mlp.gelu_impl",
            "mlp.dense_4h_to_h",
            "ln_f",
            attention=("self_attention.dense",),
            width=None,
            positions=None,
            sdpa=False,
        ),
        _encoder("bert"),
        _encoder("roberta", offset_positions=True),
        _encoder("xlm-roberta", offset_positions=True),
        _encoder("electra", pooler=False),
        _encoder("mpnet", attention=("attention.attn.o",), offset_positions=True, sdpa=False),
        _encoder(
            "distilbert",
            layers="transformer.layer",
            inputs=("ffn.lin1",),
            activation="ffn.activation",
            projection="ffn.lin2",
            attention=("attention.out_lin",),
            width="hidden_dim",
            pooler=False,
        ),
        _encoder(
            "modernbert",
            layers="layers",
            gated=True,
            inputs=("mlp.Wi",),
            activation="mlp.act",
            projection="mlp.Wo",
            attention=("attn.Wo",),
            middle="mlp_norm",
            norms_after=False,
            pooler=False,
        ),
        _encoder("deberta", pooler=False, sdpa=False),
        _encoder("deberta-v2", pooler=False, sdpa=False),
        _encoder(
            "t5",
            layers="encoder.block",
            inputs=("layer.1.DenseReluDense.wi",),
            activation="layer.1.DenseReluDense.act",
            projection="layer.1.DenseReluDense.wo",
            attention=("layer.0.SelfAttention.o",),
            middle="layer.1.layer_norm",
            norms_after=False,
            width="d_ff",
            pooler=False,
            positions=None,
            sdpa=False,
            encoder_part=True,
        ),
    )
}

# Models of text and more, by the model_type that their text model has unless their config says.
WRAPPERS = {"gemma3": "gemma3_text", "mistral3": "mistral", "qwen3_5": "qwen3_5_text"}

# The fields of a config of which one says that attention and MLP read the same stream.
_PARALLEL = {
    "gpt_neox": ("use_parallel_residual",),
    "stablelm": ("use_parallel_residual",),
    "falcon": ("parallel_attn", "new_decoder_architecture"),
}

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def look_up(config: Mapping[str, Any]) -> Family:
    """The family that a config.json names, of a wrapper that of its text model; says nothing about
    its modules.

    Raises UnsupportedArchitecture.
    """
    model_type, text = str(config.get("model_type")), config.get("text_config")
    if model_type in WRAPPERS:
        inner = dict(text) if isinstance(text, Mapping) else {}
        return look_up({"model_type": WRAPPERS[model_type]} | inner)
    if any(isinstance(n := config.get(name), int) and n > 1 for name in _EXPERTS):
        raise UnsupportedArchitecture(f"{model_type}: mixture-of-experts models are not supported")
    if model_type in FAMILIES:
        return _variant(FAMILIES[model_type], config)
    if isinstance(text, Mapping) and text.get("model_type") in FAMILIES:
        raise UnsupportedArchitecture(
            f"{model_type}: not a supported architecture, but the {text['model_type']} inside it "
            f"is: save that text model alone and list it instead"
        )
    if config.get("auto_map"):
        raise UnsupportedArchitecture(
            f"{model_type}: it needs code that comes with the model, which is never run"
        )
    raise UnsupportedArchitecture(
        f"{model_type}: not a supported architecture; these are: {', '.join(FAMILIES)}"
    )


def _variant(family: Family, config: Mapping[str, Any]) -> Family:
    """With what a config changes of a family's modules: T5 of version 1.1 has gates, OPT-350m has
    its norms behind the sums, and some have both kinds of blocks.
    """
    if str(config.get("feed_forward_proj")).startswith("gated-"):
        (wide,) = family.inputs
        return replace(family, gated=True, inputs=(f"{wide}_0", f"{wide}_1"))
    if config.get("do_layer_norm_before") is False:
        return replace(family, norms_after=True)
    if family.model_type in _PARALLEL and any(map(config.get, _PARALLEL[family.model_type])):
        return replace(family, parallel=True)
    return family


def count_neurons(config: Any, family: Family) -> int:
    """The neurons of a layer that the config promises."""
    width = getattr(config, family.width, None) if family.width else None
    return int(width) if width else 4 * int(config.hidden_size)


def count_positions(config: Any, family: Family) -> int | None:
    """The tokens a window may have; None when the model sets no limit. Of a model with factors for
    long texts (longrope) those that have the others: which ones a window got would depend on the
    windows beside it.
    """
    if family.positions is None:
        return None
    # MPNet numbers from 2 whatever the config says, so no less than that is set aside.
    reserved = max(2, (config.pad_token_id or 0) + 1) if family.offset_positions else 0
    positions = int(getattr(config, family.positions)) - reserved
    return min([positions, *_fixed_lengths(config)])


def _fixed_lengths(config: Any) -> Iterator[int]:
    """Up to how many tokens the rotations of a window do not depend on how long it is, or on the
    longest one beside it.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    for kind in (rope, *(part for part in rope.values() if isinstance(part, Mapping))):
        if kind.get("rope_type") == "longrope":
            yield int(kind["original_max_position_embeddings"])


def building_options(family: Family) -> dict[str, Any]:
    """What transformers' from_config and from_pretrained need to build this family as the table
    expects it.
    """
    options: dict[str, Any] = {"attn_implementation": "sdpa" if family.sdpa else "eager"}
    return options | ({"add_pooling_layer": False} if family.pooler else {})


def auto_class(family: Family) -> Any:
    """transformers' class that builds the model: with a head for decoders, whose unembedding the
    logit lens reads.
    """
    if family.encoder_part:
        return AutoModelForTextEncoding
    return AutoModelForCausalLM if family.kind == "decoder" else AutoModel


def refuse_variants(config: Any, family: Family) -> None:
    """Refuses settings under which a known architecture computes something else than the table
    describes.
    """
    encoder = family.kind == "encoder"
    reasons = {
        "it is quantised; use its unquantised weights or a GGUF file": getattr(
            config, "quantization_config", None
        ),
        "encoder-decoder models are not supported": not family.encoder_part
        and getattr(config, "is_encoder_decoder", False),
        "cross-attention is not supported": getattr(config, "add_cross_attention", False),
        "an encoder set up as a decoder is not supported": encoder
        and getattr(config, "is_decoder", False),
        "a decoder with bidirectional attention is not supported": not encoder
        and (
            getattr(config, "use_bidirectional_attention", False)
            or getattr(config, "is_causal", True) is False
        ),
        "alibi gives other results with its sdpa than with its eager attention": getattr(
            config, "alibi", False
        ),
        "slow_but_exact does not run the MLP's output projection as a whole": getattr(
            config, "slow_but_exact", False
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise UnsupportedArchitecture(f"{family.model_type}: {reason}")
