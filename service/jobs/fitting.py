"""A request fitted to its corpus: defaults that the corpus has too few documents for are lowered.

What a client sent is left as it is, for `checks` to judge. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from polyseme.contract.records.request import AnalysisRequest


def fit_contexts(
    request: AnalysisRequest, sent: Mapping[str, Any], documents: int
) -> AnalysisRequest:
    """With a `top_k` of no more than the documents, where each gives one context at most.

    sent: what the client said of contexts.
    """
    contexts = request.contexts
    if "top_k" in sent or contexts.per_document is None or contexts.top_k <= documents:
        return request
    shown = contexts.shown if "shown" in sent else min(contexts.shown, documents)
    return replace(request, contexts=replace(contexts, top_k=documents, shown=shown))
