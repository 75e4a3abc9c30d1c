"""/v1/dictionaries: sparse dictionaries whose latents may be analysed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask import Response

from polyseme.contract.errors import NotFound
from polyseme.contract.paths import hide_paths
from polyseme.contract.records.catalogue import DictionaryEntry, shown_source
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.service.context import services
from polyseme.service.http.answers import answer_json
from polyseme.service.http.blueprint import Blueprint, problems
from polyseme.service.jobs.dictionary_units import listed_dictionaries
from polyseme.service.schemas.dictionaries import (
    DictionariesQuery,
    DictionaryListSchema,
    DictionarySchema,
)

blueprint = Blueprint(
    "dictionaries",
    __name__,
    url_prefix="/v1/dictionaries",
    description="Sparse dictionaries (SAEs, transcoders) whose latents may be analysed.",
)

_DESCRIBED = (
    "hook",
    "layer",
    "site",
    "architecture",
    "latents",
    "width",
    "format",
    "sha256",
    "neuronpedia",
    "expected_l0",
    "prepend_bos",
    "context_size",
)


@blueprint.route("", methods=["GET"])
@blueprint.arguments(DictionariesQuery, location="query")
@blueprint.doc(operationId="listDictionaries")
@blueprint.response(200, DictionaryListSchema)
@problems({422: "a parameter is not allowed"})
def list_all(query: Mapping[str, Any]) -> Response:
    """List sparse dictionaries"""
    return answer_json({"object": "list", "data": _read_dictionaries(query.get("model"))})


@blueprint.route("/<model:dictionary_id>", methods=["GET"])
@blueprint.doc(operationId="getDictionary")
@blueprint.response(200, DictionarySchema)
@problems({404: "no such dictionary"})
def get_one(dictionary_id: str) -> Response:
    """Read what is known of a sparse dictionary"""
    found = next((d for d in _read_dictionaries(None) if d["id"] == dictionary_id), None)
    if found is None:
        raise NotFound(f"no dictionary {dictionary_id!r}")
    return answer_json(found)


def _read_dictionaries(model: str | None) -> list[dict[str, Any]]:
    """Those of the catalogue and those that workers have read, by id; of one model, or of all."""
    here = services()
    cards = {card.id: card for card in here.board.registry.list_dictionaries()}
    entries = listed_dictionaries(here.settings)
    found = [
        _show_card(cards[name], is_admin=here.is_admin)
        if name in cards
        else _show_entry(entries[name])
        for name in sorted({*entries, *cards})
    ]
    return [shown for shown in found if model in (None, shown["model"])]


def _show_entry(entry: DictionaryEntry) -> dict[str, Any]:
    """One that no worker has read."""
    return {
        "id": entry.id,
        "object": "dictionary",
        "model": entry.model,
        "state": "undescribed",
        "source": shown_source(entry.source),
        **dict.fromkeys(_DESCRIBED),
        "error": None,
    }


def _show_card(card: DictionaryCard, *, is_admin: bool) -> dict[str, Any]:
    """Where its files lie is for administrators."""
    known = {} if card.error else asdict(card)
    error = card.error if is_admin or card.error is None else hide_paths(card.error)
    return {
        "id": card.id,
        "object": "dictionary",
        "model": card.model,
        "state": "unusable" if card.error else "ready",
        "source": card.source,
        **{name: known.get(name) for name in _DESCRIBED},
        "error": error,
    }
