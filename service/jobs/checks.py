"""A request against the model and the corpus it names: every problem at once, each with its
pointer. Does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from polyseme.contract.errors import (
    Detail,
    InvalidRequest,
    PolysemeError,
    TooFewDocuments,
    UnknownSite,
)
from polyseme.contract.plurals import counted
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.selection import resolve_layers, resolve_neurons
from polyseme.contract.settings import Settings


def check_request(
    request: AnalysisRequest, card: ModelCard, corpus: Corpus, settings: Settings
) -> None:
    """Raises InvalidRequest, or a subclass when there is a single problem and it has one."""
    found: list[Detail | PolysemeError] = [
        *_check_selection(request, card),
        *_check_window(request, card, settings),
        *_check_lists(request, corpus, settings),
        *_check_tails(request),
        *_check_tokens(request, card),
        *_check_size(request, settings),
    ]
    if not found:
        return
    if len(found) == 1 and isinstance(found[0], PolysemeError):
        raise found[0]
    details = [d for f in found for d in (f.details if isinstance(f, PolysemeError) else (f,))]
    raise InvalidRequest("; ".join(d.detail for d in details), details=tuple(details))


def _check_selection(request: AnalysisRequest, card: ModelCard) -> Iterator[PolysemeError]:
    try:
        units = card.site(request.neurons.site).units
    except UnknownSite as e:
        yield e
        return
    for resolve, selection, count in (
        (resolve_layers, request.neurons.layers, card.layers),
        (resolve_neurons, request.neurons.indices, units),
    ):
        if error := _try(resolve, selection, count, card.id):
            yield error


def _check_size(request: AnalysisRequest, settings: Settings) -> Iterator[Detail]:
    size = len(json.dumps(request.to_dict()))
    if size > settings.max_record_bytes:
        yield Detail(
            "/neurons/indices",
            f"this request takes {size} bytes: at most {settings.max_record_bytes} may be kept of "
            f"one. Write neurons as ranges, or in several jobs",
        )


def _try(resolve: Callable[..., Any], *arguments: Any) -> PolysemeError | None:
    try:
        resolve(*arguments)
    except PolysemeError as e:
        return e
    return None


def _check_window(
    request: AnalysisRequest, card: ModelCard, settings: Settings
) -> Iterable[Detail]:
    contexts = request.contexts
    longest = min(card.max_positions or settings.max_window, settings.max_window)
    if contexts.window > longest:
        yield Detail(
            "/contexts/window",
            f"window {contexts.window}: from 8 to {longest} tokens with {card.id}",
        )
    if contexts.display_tokens > contexts.window:
        yield Detail(
            "/contexts/display_tokens",
            f"display_tokens {contexts.display_tokens}: at most the window, {contexts.window}",
        )
    if contexts.packing == "concat" and not card.separator:
        yield Detail(
            "/contexts/packing",
            f"packing concat: {card.id} has no token that ends a document; use document",
        )


def _check_lists(
    request: AnalysisRequest, corpus: Corpus, settings: Settings
) -> Iterator[Detail | PolysemeError]:
    contexts = request.contexts
    if contexts.top_k > settings.max_top_k:
        yield Detail("/contexts/top_k", f"top_k {contexts.top_k}: from 1 to {settings.max_top_k}")
    elif contexts.per_document == 1 and contexts.top_k > corpus.documents:
        count = counted(corpus.documents, "document")
        yield TooFewDocuments(
            f"top_k {contexts.top_k} with one context a document: the corpus has {count}. Send "
            '"contexts": {"per_document": null} to let a document give several, or a smaller top_k',
            pointer="/contexts/top_k",
        )
    # As many as are kept of either kind may be shown, whatever is said of that.
    if contexts.shown > max(settings.max_top_k, contexts.top_k, contexts.sampled):
        yield Detail("/contexts/shown", f"shown {contexts.shown}: from 1 to {settings.max_top_k}")
    if contexts.sampled % contexts.sample_lists:
        yield Detail(
            "/contexts/sampled",
            f"sampled {contexts.sampled}: a multiple of bands, {contexts.bands}, or 0",
        )


def _check_tails(request: AnalysisRequest) -> Iterator[Detail]:
    if request.neurons.dictionary is not None and request.contexts.tails == "both":
        yield Detail(
            "/contexts/tails", "tails both: a latent is never negative; use positive or auto"
        )


def _check_tokens(request: AnalysisRequest, card: ModelCard) -> Iterable[Detail]:
    tokens = request.tokens
    if tokens.exclude_positions >= request.contexts.window:
        yield Detail(
            "/tokens/exclude_positions",
            f"exclude_positions {tokens.exclude_positions}: less than the window, "
            f"{request.contexts.window}",
        )
    if tokens.bos == "always" and card.bos == "none":
        yield Detail("/tokens/bos", f"bos always: {card.id} has no such token; use model or never")
