"""The places beside a dictionary's own: where it fits better, it is misread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polyseme.workers.analysis.dictionaries.dictionary import Dictionary, Place
from polyseme.workers.analysis.dictionaries.hook_names import make_place

# The other sides of the same module, and of the same layer.
_OTHER_SIDES = {
    "resid_pre": ("resid_post",),
    "resid_mid": ("resid_pre", "resid_post"),
    "resid_post": ("resid_pre",),
    "mlp_in": ("mlp_out_raw", "mlp_out"),
    "mlp_out": ("mlp_in", "mlp_out_raw"),
    "mlp_out_raw": ("mlp_in", "mlp_out"),
    "attn_out": ("z",),
    "z": ("attn_out",),
}


@dataclass(frozen=True)
class Reading:
    """What is encoded, and what that is to decode to."""

    source: Place
    target: Place

    @property
    def name(self) -> str:
        if self.source == self.target:
            return self.source.hook
        return f"{self.source.hook} to {self.target.hook}"


def own_reading(dictionary: Dictionary) -> Reading:
    """As its files say. Without a decoder the target is the source."""
    return Reading(dictionary.source, dictionary.target or dictionary.source)


def other_readings(dictionary: Dictionary, layers: int) -> tuple[Reading, ...]:
    """At the layers beside it, and at the other sides of its module; none without a decoder.

    layers: of the model.
    """
    if dictionary.decoder is None:
        return ()
    own = own_reading(dictionary)
    if own.source == own.target:
        sides = (make_place(s, own.source.layer) for s in _OTHER_SIDES.get(own.source.site, ()))
        return (*_at_other_layers(own, layers), *(Reading(place, place) for place in sides))
    # Its input may be meant where its output is read, or the other way round.
    swapped = Reading(own.target, own.target), Reading(own.target, own.source)
    return (*_at_other_layers(own, layers), *swapped)


def _at_other_layers(own: Reading, layers: int) -> Iterator[Reading]:
    for step in (-1, 1):
        source, target = _moved(own.source, step), _moved(own.target, step)
        if all(0 <= place.layer < layers for place in (source, target)):
            yield Reading(source, target)


def _moved(place: Place, step: int) -> Place:
    layer = place.layer + step
    hook = place.hook.replace(f"blocks.{place.layer}.", f"blocks.{layer}.", 1)
    return replace(place, layer=layer, hook=hook)
