"""The parts of a model, found by its family's row and checked against its config."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from polyseme.contract.errors import UnsupportedArchitecture
from polyseme.workers.analysis.families.architectures import (
    Family,
    NormKind,
    auto_class,
    building_options,
    count_neurons,
    look_up,
    refuse_variants,
)


@dataclass(frozen=True, eq=False)
class Parts:
    """A model's modules, found by its family's table and checked against its config."""

    family: Family
    body: nn.Module  # the model without its head
    blocks: tuple[nn.Module, ...]  # the layers
    inputs: tuple[
        tuple[nn.Module, ...], ...
    ]  # the MLP's input projections of each layer, Linear or Conv1D
    activations: tuple[Callable[[Tensor], Tensor], ...]  # the MLP's activation function, likewise
    projections: tuple[
        nn.Module, ...
    ]  # the MLP's output projection of each layer, a Linear or a Conv1D
    post_norms: tuple[nn.Module | None, ...]  # one a layer
    norm: nn.Module | None  # None for encoders, and where the architecture has none
    unembedding: Tensor | None  # (vocabulary, hidden); None for encoders
    attentions: tuple[nn.Module, ...]  # the attention's output projection of each layer, likewise
    attention_norms: tuple[nn.Module | None, ...]  # one a layer
    # What the residual stream enters between attention and MLP of each layer; none where there is
    # no such place.
    middles: tuple[nn.Module, ...]
    residual_factor: float = 1.0  # by which outputs of attention and MLP join the residual stream
    logit_divisor: float = 1.0


def find_family(config: Any) -> Family:
    """The family of a transformers config, after checking its modules.

    Raises UnsupportedArchitecture, saying what is unknown or in the way.
    """
    return find_empty_parts(config).family


def find_empty_parts(config: Any) -> Parts:
    """The parts of a transformers config's model, which is built without weights.

    Raises UnsupportedArchitecture, saying what is unknown or in the way.
    """
    family = look_up(config.to_dict())
    refuse_variants(config, family)
    return find_parts(family, build_empty(config, family))


def build_empty(config: Any, family: Family) -> nn.Module:
    """The model on the meta device: modules and shapes, no weights, no memory."""
    with torch.device("meta"):
        model: nn.Module = auto_class(family).from_config(
            config, trust_remote_code=False, **building_options(family)
        )
    return model


def find_parts(family: Family, model: Any) -> Parts:
    """The parts of a model that `auto_class` built.

    Raises UnsupportedArchitecture when one is not as promised.
    """
    decoder = family.kind == "decoder"
    body = model.base_model if decoder else model
    layers = _get(body, family.layers, family)
    projections = tuple(_get(layer, family.projection, family) for layer in layers)
    _check_projections(family, model.config, projections)
    inputs = tuple(tuple(_get(layer, path, family) for path in family.inputs) for layer in layers)
    _check_inputs(family, model.config, inputs)
    attentions = tuple(_get_first(layer, family.attention, family) for layer in layers)
    _check_attentions(family, model.config, attentions)
    has_middle = not (family.parallel or family.norms_after)
    return Parts(
        family=family,
        body=body,
        blocks=tuple(layers),
        inputs=inputs,
        activations=tuple(_get(layer, family.activation, family) for layer in layers),
        projections=projections,
        post_norms=tuple(
            _get(x, family.post_norm, family) if family.post_norm else None for x in layers
        ),
        attentions=attentions,
        attention_norms=tuple(
            _get(x, family.attention_norm, family) if family.attention_norm else None
            for x in layers
        ),
        middles=tuple(_get(x, family.middle, family) for x in layers) if has_middle else (),
        norm=_get(body, family.norm, family) if family.norm else None,
        unembedding=model.get_output_embeddings().weight if decoder else None,
        residual_factor=_factor(model.config, family.residual_factor),
        logit_divisor=_factor(model.config, family.logit_divisor),
    )


def _factor(config: Any, name: str | None) -> float:
    return float(getattr(config, name)) if name else 1.0


def scaled(directions: Tensor, norm: nn.Module | None, kind: NormKind) -> Tensor:
    """Times the norm's weight; unchanged without a norm, or with one that has no weight."""
    weight = getattr(norm, "weight", None)
    if weight is None:
        return directions
    return directions * (1 + weight.float() if kind == "rms_plus_one" else weight.float())


def weight_of(module: Any) -> Tensor:
    """As the module has it: to make another tensor like it."""
    weight: Tensor = module.weight
    return weight


def matrix_rows(module: Any) -> Tensor:
    """The weight of a Linear or Conv1D as (out, in): a Conv1D holds its matrix transposed."""
    weight: Tensor = module.weight
    return weight if isinstance(module, nn.Linear) else weight.T


def _check_projections(family: Family, config: Any, projections: tuple[nn.Module, ...]) -> None:
    if len(projections) != config.num_hidden_layers:
        raise UnsupportedArchitecture(
            f"{family.model_type}: {family.layers} has {len(projections)} layers, its config "
            f"{config.num_hidden_layers}"
        )
    expected = (count_neurons(config, family), int(config.hidden_size))
    for layer, module in enumerate(projections):
        if (found := _features(module)) != expected:
            raise UnsupportedArchitecture(
                f"{family.model_type}: {family.projection} of layer {layer} is a "
                f"{type(module).__name__} "
                f"of (in, out) {found}; expected a Linear or Conv1D of {expected}"
            )


def _check_inputs(family: Family, config: Any, inputs: tuple[tuple[nn.Module, ...], ...]) -> None:
    rows = (2 if family.gated else 1) * count_neurons(config, family)
    for layer, modules in enumerate(inputs):
        features = [_features(module) for module in modules]
        sizes = [f or (0, 0) for f in features]
        if (
            any(size[0] != config.hidden_size for size in sizes)
            or sum(size[1] for size in sizes) != rows
        ):
            raise UnsupportedArchitecture(
                f"{family.model_type}: {', '.join(family.inputs)} of layer {layer} are (in, out) "
                f"{features}; "
                f"expected {rows} rows over {config.hidden_size}"
            )


def _check_attentions(family: Family, config: Any, attentions: tuple[nn.Module, ...]) -> None:
    for layer, module in enumerate(attentions):
        found = _features(module)
        if found is None or found[1] != config.hidden_size:
            raise UnsupportedArchitecture(
                f"{family.model_type}: the attention's output projection of layer {layer} is a "
                f"{type(module).__name__} of (in, out) {found}; expected a Linear or Conv1D with "
                f"{config.hidden_size} out"
            )


def _features(module: nn.Module) -> tuple[int, int] | None:
    """(in, out), or None when the module is no plain matrix."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    return None


def _get_first(module: nn.Module, paths: tuple[str, ...], family: Family) -> Any:
    """The one that is there."""
    for path in paths:
        with suppress(UnsupportedArchitecture):
            return _get(module, path, family)
    return _get(module, paths[0], family)


def _get(module: nn.Module, path: str, family: Family) -> Any:
    part: Any = module
    for name in path.split("."):
        if not hasattr(part, name):
            raise UnsupportedArchitecture(
                f"{family.model_type}: {type(module).__name__} has no {path}"
            )
        part = getattr(part, name)
    return part
