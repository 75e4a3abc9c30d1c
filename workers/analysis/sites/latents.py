"""Latents of sparse dictionaries: units made of what stands at another site."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.families.parts import Parts, scaled, weight_of
from polyseme.workers.analysis.sites.controls import Controls, Directions, Recipe, draw_directions
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES

NAME: Final = "dictionary"
_TOGETHER = 1 << 24  # numbers that are encoded at once: 64 MiB
# Sites whose activations TransformerLens' `center_writing_weights` changes, of models with a
# LayerNorm: what is written to the residual stream has its mean taken off.
_WRITTEN = frozenset({"resid_pre", "resid_mid", "resid_post", "mlp_out", "mlp_out_raw", "attn_out"})
# Ways to load a model in TransformerLens that change no site's activations.
_HARMLESS = frozenset({"center_unembed", "device", "dtype", "n_devices", "default_prepend_bos"})
# That change those of some sites: folding a norm's weight, that of what a norm made; folding the
# values' bias, that of the heads' outputs.
_CHANGING: Mapping[str, frozenset[str]] = {
    "fold_ln": frozenset({"mlp_in"}),
    "fold_value_biases": frozenset({"z"}),
}


@dataclass(frozen=True, eq=False)
class Latents:
    """A dictionary as it reads a model's activations."""

    name: str  # its id in the catalogue
    dictionary: Dictionary  # that reads the site itself
    centred: frozenset[str]  # sites whose activations have their mean taken off first

    def read(self, site: str, values: Tensor) -> Tensor:
        """What the dictionary knows as activations of a site. values: (…, D), as the model has
        them.
        """
        if site not in self.centred:
            return values
        return values - values.mean(-1, keepdim=True)

    def encode(self, values: Tensor) -> Tensor:
        """(B, S, D) at its site to latents, (B, S, M) float32 without -0. Some tokens at once, as
        what a gate makes on its way takes as much memory again.
        """
        x = self.read(self.dictionary.site, values).flatten(0, 1)
        latents = x.new_empty((len(x), self.dictionary.latents), dtype=torch.float32)
        rows = max(_TOGETHER // self.dictionary.latents, 64)
        for of_some, given in zip(latents.split(rows), x.split(rows), strict=True):
            torch.add(self.dictionary.encode(given), 0.0, out=of_some)
        return latents.unflatten(0, values.shape[:2])


def fit_to_model(name: str, dictionary: Dictionary, parts: Parts) -> Latents:
    """Raises DictionaryLoadError where it cannot read this model's activations."""
    site, layers = SITES[dictionary.site], len(parts.blocks)
    for place in filter(None, (dictionary.source, dictionary.target)):
        if reason := SITES[place.site].why_not(parts):
            raise DictionaryLoadError(f"the model has no {place.site}: {reason}")
        if place.layer >= layers:
            raise DictionaryLoadError(f"layer {place.layer}: the model has 0 to {layers - 1}")
    if dictionary.width != site.units(parts):
        raise DictionaryLoadError(
            f"it reads {dictionary.width} numbers a token, {site.name} has {site.units(parts)}"
        )
    if dictionary.source.before_weight:
        dictionary = dictionary.with_norm_weight(_norm_weight(parts, dictionary.layer))
    return Latents(name, dictionary, _centred_sites(dictionary, parts))


def _norm_weight(parts: Parts, layer: int) -> Tensor:
    """What the norm before an MLP multiplies by, (D,)."""
    if not parts.middles:
        raise DictionaryLoadError("it reads before the weight of a norm that this model has not")
    norm = parts.middles[layer]
    ones = torch.ones_like(weight_of(norm), dtype=torch.float32)
    return scaled(ones, norm, parts.family.norm_kind)


def _centred_sites(dictionary: Dictionary, parts: Parts) -> frozenset[str]:
    """By how its writer loaded the model. Raises DictionaryLoadError for a way whose activations
    cannot be made of the model's own.
    """
    ends = {place.site for place in (dictionary.source, dictionary.target) if place is not None}
    centred: frozenset[str] = frozenset()
    for option, value in dictionary.notes.from_pretrained_kwargs.items():
        if value in (False, None) or option in _HARMLESS:
            continue
        if option == "center_writing_weights":
            centred = _WRITTEN if _is_centred(parts) else centred
        elif option not in _CHANGING or _CHANGING[option] & ends:
            raise DictionaryLoadError(
                f"its model was loaded with {option}={value!r}, which changes activations of "
                f"{' and '.join(sorted(ends))}"
            )
    return centred


def _is_centred(parts: Parts) -> bool:
    """TransformerLens centres models with a LayerNorm. Exact where norms stand before attention
    and MLP: raises DictionaryLoadError elsewhere.
    """
    if parts.family.norm_kind != "layer":
        return False
    has_norms_behind = parts.family.model_type == "bloom"  # behind its embedding
    if (
        has_norms_behind
        or parts.family.norms_after
        or any(parts.post_norms)
        or any(parts.attention_norms)
    ):
        raise DictionaryLoadError(
            "its model was loaded with center_writing_weights, which is no mean taken off where "
            "norms stand behind attention and MLP"
        )
    return True


def read_latents(
    parts: Parts, dictionaries: Mapping[str, Dictionary], device: torch.device
) -> dict[int, Latents]:
    """By layer, ascending. Raises DictionaryLoadError where one does not fit the model, or two are
    of one layer.
    """
    latents: dict[int, Latents] = {}
    for name, dictionary in sorted(dictionaries.items(), key=lambda item: item[1].layer):
        if (other := latents.get(dictionary.layer)) is not None:
            raise DictionaryLoadError(
                f"{other.name} and {name} are of one layer, {dictionary.layer}: a job has one "
                f"dictionary a layer"
            )
        try:
            latents[dictionary.layer] = fit_to_model(name, dictionary.to(device), parts)
        except DictionaryLoadError as e:
            raise DictionaryLoadError(f"dictionary {name}: {e.message}") from e
    return latents


def make_site(latents: Mapping[int, Latents]) -> Site:
    """latents: of each layer, all of one site and as many. Raises DictionaryLoadError where they
    are not.
    """
    read = [of_layer.dictionary for of_layer in latents.values()]
    sites, counts = {d.site for d in read}, {d.latents for d in read}
    if len(sites) > 1 or len(counts) > 1:
        raise DictionaryLoadError(
            f"dictionaries of one job read one site and have as many latents: these read "
            f"{', '.join(sorted(sites))} and have {', '.join(map(str, sorted(counts)))}"
        )
    under, (count,) = SITES[read[0].site], counts

    def make_controls(parts: Parts, layer: int, count: int) -> Controls:
        return _Input(latents[layer], count)

    return Site(
        name=NAME,
        hook=under.hook,
        units=lambda parts: count,
        signed=lambda family: False,
        point=lambda parts, layer: under.point(parts, layer).then(latents[layer].encode),
        directions=lambda parts, layer: _directions(latents[layer].dictionary, parts),
        controls=Recipe(
            "random directions, each as seldom active as one of the latents",
            make_controls,
            reads=under.point,
            as_sparse=True,
        ),
        stream=under.stream,
        sha256=_digest(read),
        sparse=True,
    )


def _directions(dictionary: Dictionary, parts: Parts) -> Tensor | None:
    """The decoder's rows, from its target to the residual stream. None without a decoder, where the
    target writes nothing. Where an input norm is undone, before that.
    """
    if dictionary.decoder is None or dictionary.target is None:
        return None
    target = dictionary.target
    written = SITES[target.site].directions(parts, target.layer)
    return None if written is None else dictionary.decoder.weight.to(written.device) @ written


def _digest(dictionaries: Iterable[Dictionary]) -> str:
    joined = " ".join(f"{d.layer}:{d.sha256}" for d in dictionaries)
    return hashlib.sha256(joined.encode()).hexdigest()


class _Input:
    """Directions of chance in what a dictionary's encoder multiplies."""

    def __init__(self, latents: Latents, count: int) -> None:
        dictionary = latents.dictionary
        rows = draw_directions(dictionary.layer, count, dictionary.width)
        self._latents = latents
        self._directions = Directions(torch.from_numpy(rows).to(dictionary.encoder.weight))

    def __call__(self, hidden: Tensor) -> Tensor:
        """(B, S, D) at the site to (B, S, G)."""
        dictionary = self._latents.dictionary
        x = self._latents.read(dictionary.site, hidden).float()
        normed = dictionary.encoder.norm.apply(x.flatten(0, 1))
        return self._directions(normed).unflatten(0, hidden.shape[:2])
