"""What is to be said of a request before anything runs: what its result will lack, and what lifts
it. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from polyseme.contract.files.results import EVIDENCE_CONTEXTS
from polyseme.contract.plurals import counted
from polyseme.contract.records.alpha import same_at_of
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.request import AnalysisRequest, Contexts
from polyseme.service.jobs.estimate import Estimate

LITTLE_TEXT, ENOUGH_TEXT = 16_000, 64_000  # tokens: see benchmarks/senses/RESULTS.md
_MUCH_OF_TEXT = 0.5  # share that one document has of it
MUCH_MEMORY: Final = 4 << 30  # bytes of lists: what the manifests of deploy ask for a worker
# Options with which TransformerLens loads a model that change what is read at its hooks.
CHANGING: Final = (
    "center_writing_weights",
    "fold_ln",
    "fold_value_biases",
    "refactor_factored_attn_matrices",
)


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
        *_of_memory(estimate),
        *_of_staff(request, staff),
    )


def notes_of_dictionaries(
    request: AnalysisRequest, card: ModelCard, dictionaries: Sequence[DictionaryCard]
) -> Iterator[Note]:
    """Where a job reads the model otherwise than in the dictionaries' training. card: the
    model's.
    """
    adds_bos, window = card.adds_bos(request.tokens.bos), request.contexts.window
    other_bos = [d for d in dictionaries if d.prepend_bos not in (None, adds_bos)]
    other_window = [d for d in dictionaries if d.context_size not in (None, window)]
    trained, here, advice = [], [], []
    if other_window:
        size = other_window[0].context_size or 0
        trained.append(f"{other_window[0].id} on windows of {counted(size, 'token')}")
        here.append(f"windows have {counted(window, 'token')}")
        if size <= (card.max_positions or size):
            advice.append(f"contexts.window {size}")
    if other_bos:
        trained.append(f"{other_bos[0].id} {_say_bos(not adds_bos)}")
        here.append(f"texts are read {_say_bos(adds_bos)}")
        if adds_bos or card.bos != "none":
            advice.append(f"tokens.bos {'never' if adds_bos else 'always'}")
    if trained:
        alike = f" Send {' and '.join(advice)} to read them alike." if advice else ""
        yield Note(
            "dictionary_trained_otherwise",
            f"Trained otherwise than texts are read here: {' and '.join(trained)}; here "
            f"{' and '.join(here)}. Latents may be active where they were not in training.{alike}",
            "/tokens/bos" if other_bos else "/contexts/window",
        )
    yield from _of_loading(dictionaries)


def _say_bos(is_there: bool) -> str:
    return "behind a BOS token" if is_there else "without a BOS token"


def _of_loading(dictionaries: Sequence[DictionaryCard]) -> Iterator[Note]:
    changed = {d.id: [name for name in CHANGING if d.loaded_with.get(name)] for d in dictionaries}
    if found := next(((name, options) for name, options in changed.items() if options), None):
        yield Note(
            "dictionary_model_changed",
            f"{found[0]} was trained on activations that {' and '.join(found[1])} changed when its "
            "writer loaded the model. What center_writing_weights takes off the residual stream is "
            "taken off here, too; where an option's effect cannot be had exactly the job fails and "
            "names it.",
            "/neurons/dictionary",
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


def _of_memory(estimate: Estimate) -> Iterator[Note]:
    if estimate.memory_bytes > MUCH_MEMORY:
        yield Note(
            "much_memory",
            f"The lists of {counted(estimate.neurons, 'unit')} take "
            f"{estimate.memory_bytes / 2**30:.1f} GiB of a worker's memory, beside the model. "
            f"Choose fewer with neurons.indices{_or_layers(estimate)}, or keep fewer contexts.",
            "/neurons/indices",
        )


def _or_layers(estimate: Estimate) -> str:
    return ", or fewer layers" if estimate.layers > 1 else ""


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
