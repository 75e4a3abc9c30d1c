"""A request fitted to its model and corpus: what a client left open is settled.

What a client sent is left as it is, for `checks` to judge. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from polyseme.contract.errors import InvalidRequest, UnknownSite
from polyseme.contract.records.hooks import find_site
from polyseme.contract.records.model_card import ModelCard, SiteCard
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.vector_set import SITE, VectorSet

# Where a model's first token, whatever it is, has a residual stream of thousands of times the
# others' size.
RESIDUAL: Final = ("resid_pre", "resid_mid", "resid_post")


def name_site(body: Mapping[str, Any], card: ModelCard) -> dict[str, Any]:
    """What `AnalysisSchema` loaded, with site and layers in place of a hook's name.

    Raises UnknownSite; InvalidRequest where both are sent.
    """
    neurons = dict(body.get("neurons", {}))
    if "hook" not in neurons:
        return dict(body)
    hook = neurons.pop("hook")
    if twice := [name for name in ("site", "layers") if name in neurons]:
        raise InvalidRequest(
            f"hook {hook!r} and {twice[0]}: a hook's name says both; send it, or site and layers",
            pointer="/neurons/hook",
        )
    site, layers = find_site(hook, card)
    return {**body, "neurons": {**neurons, "site": site, "layers": layers}}


def name_vectors(body: Mapping[str, Any], vectors: VectorSet) -> dict[str, Any]:
    """What `AnalysisSchema` loaded, with the site and the layer of uploaded directions.

    Raises InvalidRequest for what they say themselves.
    """
    neurons = dict(body["neurons"])
    for name in ("layers", "hook"):
        if name in neurons:
            raise InvalidRequest(
                f"{name} and vectors: {vectors.id} is of {vectors.site} of layer {vectors.layer}; "
                f"leave {name} out",
                pointer=f"/neurons/{name}",
            )
    if neurons.get("site", SITE) != SITE:
        raise InvalidRequest(
            f"site {neurons['site']} and vectors: send {SITE}, or leave it out",
            pointer="/neurons/site",
        )
    if body["model"] != vectors.model:
        raise InvalidRequest(
            f"the vectors {vectors.id} are of {vectors.model}, not of {body['model']}",
            pointer="/neurons/vectors",
        )
    return {**body, "neurons": {**neurons, "site": SITE, "layers": [vectors.layer]}}


def add_site(card: ModelCard, vectors: VectorSet) -> ModelCard:
    """The model with directions of its own as units.

    Raises InvalidRequest where the model has changed since they came.
    """
    place = card.site(vectors.site)
    if place.units != vectors.width or vectors.layer >= card.layers:
        raise InvalidRequest(
            f"the vectors {vectors.id} do not fit {card.id} any more: upload them again",
            pointer="/neurons/vectors",
        )
    return card.with_site(SiteCard(SITE, vectors.count, place.hook, signed=True))


def fit_request(
    request: AnalysisRequest, sent: Mapping[str, Any], card: ModelCard, documents: int
) -> AnalysisRequest:
    """With a `top_k` of no more than the documents, where each gives one context at most; with what
    `tails` auto means; and without the first position of residual streams, where that is no token
    put before the text.

    sent: what the client said.
    """
    with suppress(UnknownSite):  # `checks` says so
        request = card.settle(request)
    return _fit_positions(_fit_lists(request, sent.get("contexts", {}), documents), sent, card)


def _fit_lists(
    request: AnalysisRequest, sent: Mapping[str, Any], documents: int
) -> AnalysisRequest:
    contexts = request.contexts
    if "top_k" in sent or contexts.per_document is None or contexts.top_k <= documents:
        return request
    shown = contexts.shown if "shown" in sent else min(contexts.shown, documents)
    return replace(request, contexts=replace(contexts, top_k=documents, shown=shown))


def _fit_positions(
    request: AnalysisRequest, sent: Mapping[str, Any], card: ModelCard
) -> AnalysisRequest:
    is_open = "exclude_positions" not in sent.get("tokens", {})
    is_residual = _reads_residual(request.neurons.site, card)
    if not is_open or not is_residual or card.adds_bos(request.tokens.bos):
        return request
    return replace(request, tokens=replace(request.tokens, exclude_positions=1))


def _reads_residual(name: str, card: ModelCard) -> bool:
    """Of a site, or of directions at one."""
    hooks = {site.hook for site in card.sites if site.site in RESIDUAL}
    return any(site.site == name and site.hook in hooks for site in card.sites)
