"""What a corpus is in tokens and windows, known once a worker has cut it whole."""

from __future__ import annotations

from dataclasses import dataclass

from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest


@dataclass(frozen=True)
class Planned:
    tokens: int  # run through the model, those that are put around a text included
    windows: int


def reader_of(card: ModelCard, corpus: Corpus) -> str:
    """Names the tokenizer and the texts."""
    return f"{corpus.sha256[:16]} {card.source}"


def cut_of(request: AnalysisRequest) -> str:
    """Names everything of a request that decides into which windows a corpus is cut, but for how
    much of it is taken.
    """
    contexts, tokens = request.contexts, request.tokens
    ignored = f"{tokens.exclude_special:d} {tokens.exclude_positions}"
    return f"{contexts.window} {contexts.packing} {tokens.bos} {ignored}"
