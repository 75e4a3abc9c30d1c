"""Names that other tools give to a place of a model: TransformerLens' full names, with ranges of
layers, and the short ones that people use. Knows no model but by its card.
"""

from __future__ import annotations

import re
from typing import Final

from polyseme.contract.errors import UnknownSite
from polyseme.contract.records.model_card import ModelCard

_LAYERS: Final = r"\d[\d,-]*|\*|all"
_FULL = re.compile(rf"blocks\.({_LAYERS})\.([a-z0-9_.]+)")
_SHORT = re.compile(rf"([a-z][a-z_]*?)\.?({_LAYERS})")

# Other names than the cards', of what they call `blocks.{layer}.<name>`: TransformerBridge's.
_SAME: Final = {
    "hook_in": "hook_resid_pre",
    "hook_out": "hook_resid_post",
    "ln2.hook_in": "hook_resid_mid",
    "attn.o.hook_in": "attn.hook_z",
}
# Short names, as of TransformerLens' `get_act_name`, that are no sites' own.
_SHORTER: Final = {"post": "mlp", "mlp_post": "mlp"}
# What looks like a site and is another place.
_OTHERS: Final = {
    "hook_mlp_in": "hook_mlp_in is what enters the norm before the MLP: that is resid_mid, and "
    "what enters the MLP is mlp_in",
    "ln2.hook_normalized": "ln2.hook_normalized is before or after the norm's weight, by how the "
    "model was loaded: what enters the MLP, with the weight, is mlp_in",
    "attn.hook_out": "attn.hook_out is before a norm behind the attention: what joins the residual "
    "stream is attn_out",
    "mlp.hook_pre": "mlp.hook_pre is before the activation function: units are read after it, as "
    "mlp",
}


def find_site(hook: str, card: ModelCard) -> tuple[str, str]:
    """The site and the layers, as a request has them, of a hook's name.

    hook: `blocks.3.hook_resid_post`, with ranges `blocks.0-3,7.hook_resid_post` or `*`; or
    `resid_post.3`, `post3`. Raises UnknownSite.
    """
    if full := _FULL.fullmatch(hook):
        return _of_template(full[2], card, hook), _layers(full[1])
    if short := _SHORT.fullmatch(hook):
        name = _SHORTER.get(short[1], short[1])
        if any(site.site == name for site in card.sites):
            return card.site(name).site, _layers(short[2])
    raise _unknown(hook, card)


def _of_template(name: str, card: ModelCard, hook: str) -> str:
    if reason := _OTHERS.get(name):
        raise UnknownSite(f"hook {hook!r}: {reason}", pointer="/neurons/hook")
    templates = {site.hook.removeprefix("blocks.{layer}."): site.site for site in card.sites}
    site = templates.get(name) or templates.get(_SAME.get(name, ""))
    # Where norms stand behind the sums, a block's output has the name of what they made.
    if site is None and name in ("hook_out", "hook_resid_post"):
        site = "resid_post"
    if site is None:
        raise _unknown(hook, card)
    return card.site(site).site


def _layers(text: str) -> str:
    return "all" if text == "*" else text


def _unknown(hook: str, card: ModelCard) -> UnknownSite:
    known = ", ".join(site.hook for site in card.sites if site.why_not is None)
    return UnknownSite(
        f"hook {hook!r} of {card.id}: it has {known}, with a layer, a range such as 0-3,14 or *",
        pointer="/neurons/hook",
    )
