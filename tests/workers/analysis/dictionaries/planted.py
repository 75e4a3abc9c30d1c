"""Dictionaries trained on a tiny model's own activations, so that they fit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyseme.workers.analysis.dictionaries.dictionary import (
    Decoder,
    Dictionary,
    Encoder,
    Notes,
    Place,
)
from polyseme.workers.analysis.dictionaries.gates import Gate, JumpRelu, TopK
from polyseme.workers.analysis.dictionaries.hook_names import make_place
from polyseme.workers.analysis.dictionaries.input_norms import InputNorm, NoNorm
from polyseme.workers.analysis.models.load import LoadedModel
from tests.workers.analysis.dictionaries.builders import write_saelens

K = 6
_STEPS = 150

Activations = dict[tuple[str, int], Tensor]  # by site and layer: (T, D)


def random_tokens(windows: int = 24, length: int = 60) -> Tensor:
    return torch.randint(3, 300, (windows, length), generator=torch.Generator().manual_seed(7))


def collect(model: LoadedModel, ids: Tensor) -> Activations:
    """By hooks of plain torch, without the first token of each window. ids: (B, S)."""
    found: Activations = {}

    def keep(site: str, layer: int) -> Callable[[Tensor], None]:
        def take(values: Tensor) -> None:
            found[site, layer] = values[:, 1:].flatten(0, 1).clone()

        return take

    handles: list[Any] = []
    for layer, block in enumerate(model.parts.blocks):
        projection = model.parts.projections[layer]
        handles += [
            _hook_output(block, keep("resid_post", layer)),
            _hook_output(projection, keep("mlp_out", layer)),
            _hook_input(model.parts.inputs[layer][0], keep("mlp_in", layer)),
        ]
    with torch.inference_mode():
        model.parts.body(input_ids=ids)
    for handle in handles:
        handle.remove()
    return {place: values.clone() for place, values in found.items()}


def train(
    source: Place,
    target: Place,
    found: Activations,
    latents: int,
    *,
    norm: InputNorm | None = None,
    gate: Callable[[], Gate] = lambda: TopK(K),
) -> Dictionary:
    """Adam on the mean squared error. Its decoder's bias begins at the target's mean."""
    x, y = found[source.site, source.layer], found[target.site, target.layer]
    norm = norm or NoNorm()
    inputs, outputs = norm.apply(x), norm.apply(y)
    torch.manual_seed(3)
    decoding = torch.nn.functional.normalize(torch.randn(latents, y.shape[1]), dim=1)
    weight = torch.nn.functional.normalize(torch.randn(latents, x.shape[1]), dim=1)
    if source == target:
        weight = decoding.clone()
    bias, mean = torch.zeros(latents), outputs.mean(0)
    learned = [value.clone().requires_grad_() for value in (weight, bias, decoding, mean)]
    is_sae = source == target
    optimiser = torch.optim.Adam(learned, lr=0.02)
    for _ in range(_STEPS):
        w, b, d, m = learned
        pre = (inputs - m if is_sae else inputs) @ w.T + b
        loss = (_kept(pre, gate()) @ d + m - outputs).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    w, b, d, m = (value.detach() for value in learned)
    encoder = Encoder(w, b, gate(), norm, centre=m if is_sae else None)
    decoder = Decoder(d, m, norm)
    return Dictionary(source, target, encoder, decoder, Notes(expected_l0=K, most_active=K))


def as_jump(dictionary: Dictionary, x: Tensor) -> Dictionary:
    """With one threshold for all latents in place of the k largest, of as many active ones."""
    encoder = replace(dictionary.encoder, gate=lambda pre: pre)
    pre = encoder(x)
    lowest = pre.flatten().topk(K * len(x)).values[-1]
    gate = JumpRelu(lowest.expand(pre.shape[1]).clone())
    notes = replace(dictionary.notes, most_active=None)
    return replace(dictionary, encoder=replace(dictionary.encoder, gate=gate), notes=notes)


def place(site: str, layer: int) -> Place:
    return make_place(site, layer)


def _kept(pre: Tensor, gate: Gate) -> Tensor:
    """What the gate lets through, with gradients."""
    with torch.no_grad():
        mask = gate(pre.detach()) > 0
    return pre * mask


def _hook_output(module: torch.nn.Module, take: Callable[[Tensor], None]) -> Any:
    def hook(_: object, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        take(output[0] if isinstance(output, tuple) else output)

    return module.register_forward_hook(hook)


def _hook_input(module: torch.nn.Module, take: Callable[[Tensor], None]) -> Any:
    return module.register_forward_pre_hook(lambda _, args: take(args[0]))


def save_planted(dictionary: Dictionary, folder: Path) -> Path:
    """A top-k as SAELens writes it."""
    encoder, decoder = dictionary.encoder, dictionary.decoder
    assert decoder is not None
    assert encoder.bias is not None
    assert decoder.bias is not None
    tensors = {
        "W_enc": encoder.weight.T,
        "b_enc": encoder.bias,
        "W_dec": decoder.weight,
        "b_dec": decoder.bias,
    }
    sizes = {"d_in": dictionary.width, "d_sae": dictionary.latents}
    hook = {"hook_name": dictionary.hook}
    cfg = {"architecture": "topk", "k": K, "normalize_activations": encoder.norm.name}
    return write_saelens(folder, tensors, metadata=hook, **sizes, **cfg)
