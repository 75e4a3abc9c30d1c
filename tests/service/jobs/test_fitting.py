from __future__ import annotations

from typing import Any

import pytest

from polyseme.contract.errors import InvalidRequest
from polyseme.contract.records.model_card import ModelCard, SiteCard
from polyseme.contract.records.request import AnalysisRequest, Contexts
from polyseme.service.jobs.fitting import fit_request, name_site
from tests.factories import make_card, make_request

CARD = make_card(
    sites=(
        SiteCard("mlp", 48, "blocks.{layer}.mlp.hook_post", signed=True),
        SiteCard("resid_post", 16, "blocks.{layer}.hook_resid_post", signed=True),
        SiteCard("mlp_out", 16, "blocks.{layer}.hook_mlp_out", signed=True),
        SiteCard("latents", 16, "blocks.{layer}.hook_latents", signed=False),
    )
)


def fit(documents: int, **sent: Any) -> Contexts:
    sent = {"contexts": sent}
    return fit_request(make_request(**sent), sent, CARD, documents).contexts


def fit_site(site: str, card: ModelCard = CARD, **sent: Any) -> AnalysisRequest:
    sent = {"neurons": {"site": site}, **sent}
    return fit_request(make_request(**sent), sent, card, 1000)


def test_a_default_is_lowered_to_the_documents() -> None:
    assert (fit(59).top_k, fit(59).shown) == (59, 20)
    assert (fit(12).top_k, fit(12).shown) == (12, 12)
    assert (fit(60).top_k, fit(60).shown) == (60, 20)


@pytest.mark.parametrize(
    "sent", [{"top_k": 20, "tails": "both"}, {"per_document": None, "tails": "both"}]
)
def test_what_was_sent_is_left(sent: dict[str, Any]) -> None:
    assert fit(3, **sent) == make_request(contexts=sent).contexts


def test_shown_is_left_when_it_was_sent() -> None:
    assert fit(3, shown=7).shown == 7


def test_tails_are_both_but_of_neurons_and_of_what_is_never_negative() -> None:
    assert [fit_site(site).contexts.tails for site in ("mlp", "latents", "mlp_out")] == [
        "positive",
        "positive",
        "both",
    ]
    assert fit_site("mlp_out", contexts={"tails": "positive"}).contexts.tails == "positive"
    assert fit_site("mlp", contexts={"tails": "both"}).contexts.tails == "both"


def test_a_residual_streams_first_position_is_left_out_unless_it_is_the_models_own_token() -> None:
    with_bos = make_card(sites=CARD.sites, bos="added")

    assert fit_site("resid_post").tokens.exclude_positions == 1
    assert fit_site("resid_post", tokens={"bos": "always"}).tokens.exclude_positions == 0
    assert fit_site("resid_post", with_bos).tokens.exclude_positions == 0
    assert fit_site("resid_post", with_bos, tokens={"bos": "never"}).tokens.exclude_positions == 1
    assert fit_site("mlp_out").tokens.exclude_positions == 0
    assert fit_site("resid_post", tokens={"exclude_positions": 0}).tokens.exclude_positions == 0


def test_a_hooks_name_becomes_site_and_layers() -> None:
    body = {"model": "m", "neurons": {"hook": "blocks.1-2.hook_resid_post", "indices": [3]}}

    named = name_site(body, CARD)

    assert named["neurons"] == {"site": "resid_post", "layers": "1-2", "indices": [3]}


@pytest.mark.parametrize("more", [{"site": "mlp"}, {"layers": [1]}])
def test_a_hooks_name_beside_what_it_says_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="a hook's name says both") as caught:
        name_site({"neurons": {"hook": "z3", **more}}, CARD)

    assert caught.value.details[0].pointer == "/neurons/hook"
