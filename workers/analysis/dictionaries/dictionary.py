"""A sparse dictionary in memory: activations to latents and back, in float32 whatever dtype its
files have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.gates import Gate
from polyseme.workers.analysis.dictionaries.input_norms import InputNorm, NoNorm

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where in a model activations are read, or whose values a decoder gives."""

    site: str  # as requests spell it
    layer: int
    hook: str  # TransformerLens' name
    # Behind a norm, but before its weight: the site's activations, divided by that weight.
    before_weight: bool = False


@dataclass(frozen=True, eq=False)
class Encoder:
    weight: Tensor  # (M, D)
    bias: Tensor | None  # (M,)
    gate: Gate
    norm: InputNorm = field(default_factory=NoNorm)
    centre: Tensor | None = None  # (D,), taken off what the norm gives
    factor: Tensor | None = None  # (M,), by which pre-activations are multiplied before the gate

    def __call__(self, x: Tensor) -> Tensor:
        x = self.norm.apply(x.float())
        if self.centre is not None:
            x = x - self.centre
        pre = functional.linear(x, self.weight, self.bias)
        if self.factor is not None:
            pre = pre * self.factor
        return self.gate(pre)


@dataclass(frozen=True, eq=False)
class Decoder:
    weight: Tensor  # (M, E)
    bias: Tensor | None  # (E,)
    norm: InputNorm = field(default_factory=NoNorm)  # what the encoder's norm did is undone
    factor: Tensor | None = None  # (M,), by which latents are multiplied first
    skip: Tensor | None = None  # (E, D), of the input as it is

    def __call__(self, latents: Tensor, x: Tensor) -> Tensor:
        if self.factor is not None:
            latents = latents * self.factor
        y = latents @ self.weight
        if self.bias is not None:
            y = y + self.bias
        y = self.norm.undo(y, x.float())
        return y if self.skip is None else y + functional.linear(x.float(), self.skip)

    def norms(self) -> Tensor:
        lengths = self.weight.norm(dim=1)
        return lengths if self.factor is None else lengths * self.factor


@dataclass(frozen=True)
class Notes:
    """What a dictionary's files say beside its numbers; None: they do not."""

    model_name: str | None = None  # as its writer calls the model
    expected_l0: float | None = None  # mean active latents a token
    most_active: int | None = None  # latents that can be active at one token, of a top-k
    neuronpedia: str | None = None  # its id there
    prepend_bos: bool | None = None  # whether texts began with that token in training
    context_size: int | None = None  # tokens of a window in training
    # With what the writer loaded the model in TransformerLens, such as center_writing_weights,
    # which change activations.
    from_pretrained_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Dictionary:
    source: Place  # what it encodes
    target: Place | None  # what it decodes to; of an SAE the source, None without a decoder
    encoder: Encoder
    decoder: Decoder | None
    notes: Notes
    format: str = ""  # a name in FORMATS
    sha256: str = ""  # over the names and bytes of the files that were read

    @property
    def architecture(self) -> str:
        return self.encoder.gate.architecture

    @property
    def site(self) -> str:
        return self.source.site

    @property
    def layer(self) -> int:
        return self.source.layer

    @property
    def hook(self) -> str:
        return self.source.hook

    @property
    def width(self) -> int:
        """D: numbers of an activation that is encoded."""
        return self.encoder.weight.shape[1]

    @property
    def latents(self) -> int:
        """M."""
        return self.encoder.weight.shape[0]

    @property
    def decoder_norm(self) -> Tensor | None:
        """(M,): the length of what a latent of 1 decodes to; None without a decoder.

        Where a norm of the input is undone, before that.
        """
        return None if self.decoder is None else self.decoder.norms()

    def encode(self, x: Tensor) -> Tensor:
        """x: (T, D) at the source. Returns (T, M) float32 latents, as trained: not multiplied by
        the decoder's norms.
        """
        return self.encoder(x)

    def decode(self, latents: Tensor, x: Tensor) -> Tensor:
        """Latents, (T, M), of the input x, (T, D), to what the decoder gives for the target,
        (T, E) float32.

        Raises DictionaryLoadError without a decoder.
        """
        if self.decoder is None:
            raise DictionaryLoadError("it has no decoder: only the encoder of it was read")
        return self.decoder(latents, x)

    def with_norm_weight(self, weight: Tensor) -> Dictionary:
        """Of a dictionary that reads before a norm's weight: the one that reads the site itself.

        weight: (D,), what the norm multiplies by. Raises DictionaryLoadError where it is 0.
        """
        if not (weight != 0).all():
            raise DictionaryLoadError("the norm before its site has weights that are 0")
        encoder = replace(self.encoder, weight=self.encoder.weight / weight)
        return replace(self, source=replace(self.source, before_weight=False), encoder=encoder)

    def to(self, device: torch.device) -> Dictionary:
        return _moved(self, device)


def _moved(record: T, device: torch.device) -> T:
    """The record with its tensors, also of records inside it, on the device."""
    changed: dict[str, Any] = {}
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        if isinstance(value, Tensor):
            changed[each.name] = value.to(device)
        elif is_dataclass(value):
            changed[each.name] = _moved(value, device)
    return replace(record, **changed)  # type: ignore[type-var]
