"""Names of places in a model, as other projects write them, and the sites they are here."""

from __future__ import annotations

import re

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.dictionary import Place

# TransformerLens' names behind "blocks.<layer>.". Its `hook_mlp_in` stands before the norm, and
# SAELens gives that name to what Gemma Scope 2 reads behind it: so the name alone is refused.
HOOKS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "mlp.hook_in": "mlp_in",
    "mlp.hook_out": "mlp_out_raw",
    "hook_mlp_out": "mlp_out",
    "hook_attn_out": "attn_out",
    "attn.hook_z": "z",
    "mlp.hook_post": "mlp",
}
_BEFORE_WEIGHT = "ln2.hook_normalized"
# transformers' names behind "model.layers.<layer>.", as Gemma Scope 2 writes them.
_MODULES = {
    "output": "resid_post",
    "self_attn.o_proj.input": "z",
    "pre_feedforward_layernorm.output": "mlp_in",
    "post_feedforward_layernorm.output": "mlp_out",
}
# What sparsify reads: a block or its MLP, in the words of many architectures.
_SPARSIFY = re.compile(r"(?:[a-z_]+\.)*(?:layers|layer|h|blocks|block)\.(\d+)(\.mlp)?")


def make_place(site: str, layer: int) -> Place:
    (name,) = (hook for hook, known in HOOKS.items() if known == site)
    return Place(site, layer, f"blocks.{layer}.{name}")


def parse_hook(name: str) -> Place:
    """A name of TransformerLens. Raises DictionaryLoadError for one that is no site."""
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if found and found[2] in HOOKS:
        return make_place(HOOKS[found[2]], int(found[1]))
    if found and found[2] == _BEFORE_WEIGHT:
        return Place("mlp_in", int(found[1]), name, before_weight=True)
    if found and found[2] == "hook_mlp_in":
        raise DictionaryLoadError(
            f"hook {name!r} may be the residual stream before the norm or the MLP's input behind "
            f"it: write hook_resid_mid or mlp.hook_in"
        )
    known = ", ".join([*HOOKS, _BEFORE_WEIGHT])
    raise DictionaryLoadError(f"hook {name!r} is no site: known are blocks.<layer>. with {known}")


def parse_module(name: str) -> Place:
    """A name of transformers, with the side. Raises DictionaryLoadError for one that is no site."""
    found = re.fullmatch(r"model\.(?:language_model\.)?layers\.(\d+)\.(.+)", name)
    if not found or found[2] not in _MODULES:
        raise DictionaryLoadError(
            f"hook {name!r} is no site: known are model.layers.<layer>. with {', '.join(_MODULES)}"
        )
    return make_place(_MODULES[found[2]], int(found[1]))


def parse_sparsify(name: str, *, transcodes: bool) -> tuple[Place, Place]:
    """What the folder's name says that is encoded and what is decoded to: a module's output, or of
    one that transcodes its input and its output.

    Raises DictionaryLoadError.
    """
    found = _SPARSIFY.fullmatch(name)
    if not found:
        raise DictionaryLoadError(
            f"the folder {name!r} is to be named after what it reads: a block (layers.<layer>, "
            f"h.<layer>) or its MLP (layers.<layer>.mlp)"
        )
    layer, is_mlp = int(found[1]), found[2] is not None
    output = make_place("mlp_out_raw" if is_mlp else "resid_post", layer)
    return (
        make_place("mlp_in" if is_mlp else "resid_pre", layer) if transcodes else output
    ), output
