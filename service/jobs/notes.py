"""What is to be said of a request before anything runs: what its result will lack, and what lifts
it. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polyseme.contract.files.results import EVIDENCE_CONTEXTS
from polyseme.contract.plurals import counted
from polyseme.contract.records.alpha import same_at_of
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.request import AnalysisRequest, Contexts
from polyseme.service.jobs.estimate import Estimate

LITTLE_TEXT, ENOUGH_TEXT = 16_000, 64_000  # tokens: see benchmarks/senses/RESULTS.md
_MUCH_OF_TEXT = 0.5  # share that one document has of it


@dataclass(frozen=True)
class Note:
    code: str
    message: str
    pointer: str | None = None  # into the request: what may be changed

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "pointer": self.pointer}


@dataclass(frozen=True)
class Staff:
    """Of the workers that were heard of lately."""

    serves_queue: bool  # one of them takes units of the model
    has_encoder: bool  # one of them has a sentence encoder


def notes_of(
    sent: Mapping[str, Any],
    request: AnalysisRequest,
    corpus: Corpus,
    estimate: Estimate,
    staff: Staff,
) -> tuple[Note, ...]:
    """sent: the request's body, before its defaults."""
    return (
        *_of_evidence(request, corpus, estimate),
        *_of_text(request, corpus, estimate),
        *_of_fitting(sent.get("contexts", {}), request),
        *notes_of_senses(sent.get("senses", {})),
        *_of_staff(request, staff),
    )


def notes_of_senses(sent: Mapping[str, Any]) -> Iterator[Note]:
    """sent: options of senses."""
    if "alpha" in sent:
        alpha = sent["alpha"]
        yield Note(
            "alpha_deprecated",
            f"senses.alpha is deprecated: {alpha:g} was read as senses.same_at "
            f"{same_at_of(alpha):g}.",
            "/senses/alpha",
        )


def _of_evidence(request: AnalysisRequest, corpus: Corpus, estimate: Estimate) -> Iterator[Note]:
    """Whether there can be as many contexts of a neuron as a sentence about it takes."""
    if not request.senses.enabled:
        return
    contexts, lacking = request.contexts, "every neuron will lack evidence, which takes"
    of_documents = sum(min(count, corpus.documents) for count in (contexts.top_k, contexts.sampled))
    if estimate.windows < EVIDENCE_CONTEXTS:
        yield Note(
            "too_few_windows",
            f"About {counted(estimate.windows, 'window')} of text: {lacking} {EVIDENCE_CONTEXTS} "
            "contexts, and a window gives one at most. Take more text"
            + (", or a smaller contexts.window." if _can_cut_smaller(estimate) else "."),
            "/corpus",
        )
    elif contexts.top_k + contexts.sampled < EVIDENCE_CONTEXTS:
        kept = contexts.top_k + contexts.sampled
        yield Note(
            "too_few_contexts",
            f"contexts.top_k and contexts.sampled keep {kept} contexts of a neuron at most: "
            f"{lacking} {EVIDENCE_CONTEXTS}. Make them larger.",
            "/contexts/top_k",
        )
    elif contexts.per_document is not None and of_documents < EVIDENCE_CONTEXTS:
        yield Note(
            "too_few_documents",
            f"{counted(corpus.documents, 'document')}, each of which gives one context at most: "
            f"{lacking} {EVIDENCE_CONTEXTS}. Send contexts.per_document null, or more documents.",
            "/contexts/per_document",
        )
    elif 2 * request.senses.min_contexts > contexts.top_k + contexts.sampled:
        yield Note(
            "min_contexts_large",
            f"Two senses of {request.senses.min_contexts} contexts need more than the "
            f"{contexts.top_k + contexts.sampled} that are kept: no neuron can have two. Make "
            "contexts.top_k larger, or senses.min_contexts smaller.",
            "/senses/min_contexts",
        )
    elif estimate.tokens < LITTLE_TEXT:
        yield Note(
            "little_text",
            f"About {estimate.tokens:,} tokens of text: something will be claimed of few neurons. "
            f"{ENOUGH_TEXT:,} or more are better.",
            "/corpus",
        )


def _of_text(request: AnalysisRequest, corpus: Corpus, estimate: Estimate) -> Iterator[Note]:
    """What of the corpus is read, and whether one document is most of it."""
    if (whole := estimate.whole.tokens) > estimate.tokens:
        yield Note(
            "max_tokens_cuts",
            f"tokens.max_tokens {request.tokens.max_tokens:,} takes "
            f"{_percent(estimate.tokens / whole)} of the corpus: its first documents.",
            "/tokens/max_tokens",
        )
    share = corpus.longest_characters / max(corpus.characters, 1)
    is_limited = request.contexts.per_document is not None
    if is_limited and corpus.documents > 1 and share > _MUCH_OF_TEXT:
        yield Note(
            "long_document",
            f"One document is {_percent(share)} of the text, and gives a neuron one context of a "
            "kind at most. Send contexts.per_document null, or cut it into documents.",
            "/contexts/per_document",
        )


def _of_fitting(sent: Mapping[str, Any], request: AnalysisRequest) -> Iterator[Note]:
    """sent: what the client said of contexts, before they were fitted to the corpus."""
    if "top_k" not in sent and request.contexts.top_k < Contexts.top_k:
        yield Note("top_k_lowered", request.contexts.explain_few() + ".", "/contexts/top_k")


def _of_staff(request: AnalysisRequest, staff: Staff) -> Iterator[Note]:
    if not staff.serves_queue:
        yield Note("no_worker", "No worker serves this model now: the job will wait for one.")
    elif request.senses.enabled and request.senses.vectors == "residual" and not staff.has_encoder:
        yield Note(
            "no_encoder",
            "No worker has a sentence encoder: words are compared without one, and senses are "
            "found less well. The operator installs it: pip install 'polyseme[encoder]'.",
            "/senses/vectors",
        )


def _can_cut_smaller(estimate: Estimate) -> bool:
    return estimate.tokens >= EVIDENCE_CONTEXTS * 8  # the smallest window


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
