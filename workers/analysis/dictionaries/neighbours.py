"""Other ways to read a dictionary: at the places beside its own, and with its bias used the other
way. Where it fits better so, it is misread.
"""

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


@dataclass(frozen=True, eq=False)
class Reading:
    """A dictionary, what it encodes, and what that is to decode to."""

    name: str  # for people
    dictionary: Dictionary
    source: Place
    target: Place


def own_reading(dictionary: Dictionary) -> Reading:
    """As its files say. Without a decoder the target is the source."""
    return _read_at(dictionary, dictionary.source, dictionary.target or dictionary.source)


def other_readings(dictionary: Dictionary, layers: int) -> tuple[Reading, ...]:
    """At the layers beside it, at the other sides of its module, and with its decoder's bias left
    on or taken off the input, whichever it is not; none without a decoder.

    layers: of the model.
    """
    if dictionary.decoder is None:
        return ()
    own = own_reading(dictionary)
    moved = _at_other_layers(own, layers)
    if own.source == own.target:
        sides = (make_place(s, own.source.layer) for s in _OTHER_SIDES.get(own.source.site, ()))
        turned = (_read_at(dictionary, place, place) for place in sides)
        return (*moved, *turned, *_with_other_bias(own))
    # Its input may be meant where its output is read, or the other way round.
    swapped = (_read_at(dictionary, own.target, end) for end in (own.target, own.source))
    return (*moved, *swapped)


def _read_at(dictionary: Dictionary, source: Place, target: Place) -> Reading:
    name = source.hook if source == target else f"{source.hook} to {target.hook}"
    return Reading(name, dictionary, source, target)


def _at_other_layers(own: Reading, layers: int) -> Iterator[Reading]:
    for step in (-1, 1):
        source, target = _moved(own.source, step), _moved(own.target, step)
        if all(0 <= place.layer < layers for place in (source, target)):
            yield _read_at(own.dictionary, source, target)


def _with_other_bias(own: Reading) -> Iterator[Reading]:
    encoder, decoder = own.dictionary.encoder, own.dictionary.decoder
    if decoder is None or decoder.bias is None:
        return
    is_off = encoder.centre is not None
    other = replace(encoder, centre=None if is_off else decoder.bias)
    yield Reading(
        f"{own.name} with b_dec {'left on' if is_off else 'taken off'} its input",
        replace(own.dictionary, encoder=other),
        own.source,
        own.target,
    )


def _moved(place: Place, step: int) -> Place:
    layer = place.layer + step
    hook = place.hook.replace(f"blocks.{place.layer}.", f"blocks.{layer}.", 1)
    return replace(place, layer=layer, hook=hook)
