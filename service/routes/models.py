"""/v1/models: what may be analysed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from polyseme.contract.errors import NotFound
from polyseme.contract.paths import hide_paths
from polyseme.contract.records.catalogue import shown_source
from polyseme.contract.records.model_card import ModelCard
from polyseme.service.context import services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import Blueprint, problems
from polyseme.service.jobs.submit import catalogue
from polyseme.service.schemas.models import ModelListSchema, ModelSchema

blueprint = Blueprint(
    "models", __name__, url_prefix="/v1/models", description="Models that may be analysed."
)

_DESCRIBED = (
    "family",
    "kind",
    "layers",
    "neurons",
    "gated",
    "hidden_size",
    "vocabulary",
    "max_positions",
    "bos",
    "separator",
    "tokens_per_second",
    "neurons_per_second",
    "characters_per_token",
    "error",
)


@blueprint.route("", methods=["GET"])
@blueprint.doc(operationId="listModels")
@blueprint.response(200, ModelListSchema)
@problems({})
def list_all() -> Response:
    """List models"""
    return answer_json({"object": "list", "data": _read_models()})


@blueprint.route("/<model:model_id>", methods=["GET"])
@blueprint.doc(operationId="getModel")
@blueprint.response(200, ModelSchema)
@problems({404: "no such model"})
def get_one(model_id: str) -> Response:
    """Read what is known of a model"""
    model = next((m for m in _read_models() if m["id"] == model_id), None)
    if model is None:
        raise NotFound(f"no model {model_id!r}")
    return answer_json(model)


def _read_models() -> list[dict[str, Any]]:
    """Those of the catalogue and those that workers have described, by id."""
    here = services()
    cards = {card.id: card for card in here.board.registry.list_cards()}
    sources = catalogue(here.settings) | {card.id: card.source for card in cards.values()}
    return [
        _model_to_dict(name, source, cards.get(name), is_admin=here.is_admin)
        for name, source in sorted(sources.items())
    ]


def _model_to_dict(
    model: str, source: str, card: ModelCard | None, *, is_admin: bool
) -> dict[str, Any]:
    """Where its files lie is for administrators."""
    known = asdict(card) if card else {}
    if not is_admin:
        source = shown_source(source)
        known["error"] = hide_paths(card.error) if card and card.error else None
    state = "undescribed" if card is None else "unusable" if card.error else "ready"
    return {
        "id": model,
        "object": "model",
        "source": source,
        "state": state,
        **{name: known.get(name) for name in _DESCRIBED},
        "sites": list(known.get("sites", ())),
    }
