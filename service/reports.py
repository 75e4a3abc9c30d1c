"""A neuron's report as JSON, from its row of the report file. Token ids become text here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contract.results import QUANTILES, histogram_edges
from service.results import Vocabulary

Row = Mapping[str, Any]
Texts = Callable[[int], str]

_EDGES = histogram_edges()
_STATS = ("n_tokens", "density", "mean", "std", "skewness", "kurtosis", "min", "max")


def build_report(row: Row, job: str, model: str, vocabulary: Vocabulary) -> dict[str, Any]:
    text = _read_texts(row, vocabulary)
    return {
        "object": "neuron",
        "job": job,
        "model": model,
        **{name: row[name] for name in ("layer", "neuron", "hook", "status")},
        "stats": _stats(row),
        "peak_tokens": [_peak_token(p, text) for p in row["peak_tokens"] or ()],
        "bands": row["bands"] or [],
        "near_duplicates": row["near_duplicates"],
        "contexts": [_context(c, text) for c in row["contexts"] or ()],
        "logits": _logits(row, text),
        "links": _links(row, job, model),
    }


def _stats(row: Row) -> dict[str, Any]:
    values = row["quantiles"] or [None] * len(QUANTILES)
    return {
        **{name: row[name] for name in _STATS},
        "quantiles": {str(q): v for q, v in zip(QUANTILES, values, strict=True)},
        "histogram": _histogram(row),
    }


def _histogram(row: Row) -> dict[str, Any]:
    first, counts = row["histogram_first"], row["histogram"]
    if not counts:
        return {"edges": [], "counts": []}
    return {"edges": _EDGES[first : first + len(counts) + 1], "counts": counts}


def _peak_token(peak: Row, text: Texts) -> dict[str, Any]:
    return {"token": text(peak["token"]), "token_id": peak["token"], **{n: peak[n] for n in ("count", "mean", "max")}}


def _context(context: Row, text: Texts) -> dict[str, Any]:
    plain = ("tail", "sample", "band", "document", "window", "position", "activation", "display_start")
    return {
        **{name: context[name] for name in plain},
        "char_span": [context["char_start"], context["char_end"]],
        "peak": context["position"] - context["display_start"],
        "tokens": [text(t) for t in context["tokens"]],
        "activations": context["activations"],
    }


def _logits(row: Row, text: Texts) -> dict[str, Any] | None:
    if row["promoted"] is None or row["suppressed"] is None:
        return None
    return {
        side: [{"token": text(e["token"]), "token_id": e["token"], "logit": e["logit"]} for e in row[side]]
        for side in ("promoted", "suppressed")
    }


def _links(row: Row, job: str, model: str) -> dict[str, str]:
    return {
        "self": f"/v1/jobs/{job}/neurons/{row['layer']}/{row['neuron']}",
        "job": f"/v1/jobs/{job}",
        "manifest": f"/v1/jobs/{job}/manifest",
        "model": f"/v1/models/{model}",
    }


def _read_texts(row: Row, vocabulary: Vocabulary) -> Texts:
    """Looks all tokens of the row up at once."""
    ids = sorted(set(_token_ids(row)))
    return dict(zip(ids, vocabulary.read(ids), strict=True)).__getitem__


def _token_ids(row: Row) -> Iterable[int]:
    for context in row["contexts"] or ():
        yield from context["tokens"]
    for name in ("peak_tokens", "promoted", "suppressed"):
        yield from (entry["token"] for entry in row[name] or ())
