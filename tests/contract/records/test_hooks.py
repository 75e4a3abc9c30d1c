"""Names of hooks as people write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from polyseme.contract.errors import UnknownSite
from polyseme.contract.records.hooks import find_site
from polyseme.contract.records.model_card import ModelCard, SiteCard
from tests.factories import make_card

HOOKS = {
    "mlp": "mlp.hook_post",
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "mlp_in": "mlp.hook_in",
    "mlp_out": "hook_mlp_out",
    "mlp_out_raw": "mlp.hook_out",
    "attn_out": "hook_attn_out",
    "z": "attn.hook_z",
}


def card(**hooks: Any) -> ModelCard:
    sites = tuple(
        SiteCard(site, 16, f"blocks.{{layer}}.{hook}", signed=True)
        for site, hook in (HOOKS | hooks).items()
    )
    return make_card(sites=sites)


@pytest.mark.parametrize(("site", "hook"), HOOKS.items())
def test_a_full_name_is_a_site_and_its_layers(site: str, hook: str) -> None:
    assert find_site(f"blocks.3.{hook}", card()) == (site, "3")
    assert find_site(f"blocks.0-2,7.{hook}", card()) == (site, "0-2,7")
    assert find_site(f"blocks.*.{hook}", card()) == (site, "all")


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ("resid_post.3", ("resid_post", "3")),
        ("resid_post.0-3", ("resid_post", "0-3")),
        ("resid_post3", ("resid_post", "3")),
        ("post3", ("mlp", "3")),
        ("mlp_post.2", ("mlp", "2")),
        ("z11", ("z", "11")),
        ("mlp_out_raw.0", ("mlp_out_raw", "0")),
        ("blocks.2.hook_in", ("resid_pre", "2")),
        ("blocks.2.hook_out", ("resid_post", "2")),
        ("blocks.2.ln2.hook_in", ("resid_mid", "2")),
        ("blocks.2.attn.o.hook_in", ("z", "2")),
    ],
)
def test_short_names_and_those_of_the_bridge_are_known(
    hook: str, expected: tuple[str, str]
) -> None:
    assert find_site(hook, card()) == expected


def test_a_normed_residual_stream_is_found_by_either_name() -> None:
    normed = card(resid_post="hook_normalized_resid_post")

    for name in ("hook_normalized_resid_post", "hook_resid_post", "hook_out"):
        assert find_site(f"blocks.1.{name}", normed) == ("resid_post", "1")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("blocks.3.hook_mlp_in", "that is resid_mid, and what enters the MLP is mlp_in"),
        ("blocks.3.ln2.hook_normalized", "what enters the MLP, with the weight, is mlp_in"),
        ("blocks.3.attn.hook_out", "what joins the residual stream is attn_out"),
        ("blocks.3.mlp.hook_pre", "units are read after it, as mlp"),
        ("blocks.3.attn.hook_pattern", r"it has blocks\.\{layer\}\.mlp\.hook_post"),
        ("blocks.hook_resid_post", "with a layer, a range such as 0-3,14"),
        ("model.layers.3", "it has blocks"),
        ("pattern3", "it has blocks"),
        ("resid_post", "it has blocks"),
        ("", "it has blocks"),
    ],
)
def test_other_places_are_refused_with_what_there_is(hook: str, said: str) -> None:
    with pytest.raises(UnknownSite, match=said) as caught:
        find_site(hook, card())

    assert caught.value.details[0].pointer == "/neurons/hook"


def test_a_site_that_the_model_has_not_is_refused_with_the_reason() -> None:
    sites = tuple(
        replace(site, units=0, why_not="its blocks are parallel")
        if site.site == "resid_mid"
        else site
        for site in card().sites
    )
    parallel = replace(card(), sites=sites)

    for hook in ("blocks.3.hook_resid_mid", "resid_mid.3"):
        with pytest.raises(UnknownSite, match="its blocks are parallel"):
            find_site(hook, parallel)
