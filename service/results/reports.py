"""A neuron's report as JSON, from its row of the report file. Token ids become text here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from polyseme.contract.files.column import negative
from polyseme.contract.files.columns import IN_HEADS, PLACE, SCORES, STATS
from polyseme.contract.files.results import QUANTILES, histogram_edges
from polyseme.service.results.curve import Grouping, draw_curve
from polyseme.service.results.scalars import Vocabulary

Row = Mapping[str, Any]
Texts = Callable[[int], str]

NO_DICTIONARIES: Mapping[int, str] = MappingProxyType({})
_EDGES = histogram_edges()
_STATS = tuple(c.name for c in STATS)
_PLACE = tuple(c.name for c in (*PLACE, *IN_HEADS))


def build_report(
    row: Row,
    job: str,
    model: str,
    vocabulary: Vocabulary,
    base: str = "",
    *,
    site: str = "mlp",
    dictionaries: Mapping[int, str] = NO_DICTIONARIES,
) -> dict[str, Any]:
    """base: the path that the service lies below; site: the job's; dictionaries: by layer the ids
    of those whose latents its units are.
    """
    text = _read_texts(row, vocabulary)
    spoken = _read_spoken(row, text)
    return {
        "object": "neuron",
        "job": job,
        "model": model,
        "site": site,
        "dictionary": dictionaries.get(row["layer"]),
        **{name: row[name] for name in _PLACE},
        "status": row["status"],
        "meaning": row["meaning"],
        "polysemanticity": _scores(row, str),
        "negative": _negative(row),
        "senses": [_sense(s, row, text, spoken) for s in row["senses"] or ()],
        "stats": _stats(row),
        "peak_tokens": [_peak_token(p, text, spoken) for p in row["peak_tokens"] or ()],
        "bands": row["bands"] or [],
        "near_duplicates": row["near_duplicates"],
        "decoder_norm": row.get("decoder_norm"),  # not of results of before there were latents
        "contexts": [_context(c, text, vocabulary) for c in row["contexts"] or ()],
        "evidence": [_evidence(e, text, spoken) for e in row["evidence"] or ()],
        "logits": _logits(row, text),
        "links": _links(row, job, model, base),
    }


_SCORE_NAMES = tuple(
    f.name
    for f in SCORES
    if f.name not in ("status", "polysemanticity", "polysemanticity_low", "polysemanticity_high")
)


def _scores(row: Row, name_of: Callable[[str], str]) -> dict[str, Any] | None:
    """A tail's scores with their `same_at`; None when senses were not asked for."""
    if row["same_at"] is None:
        return None
    low, high = row[name_of("polysemanticity_low")], row[name_of("polysemanticity_high")]
    return {
        "same_at": row["same_at"],
        "score": row[name_of("polysemanticity")],
        "interval": None if low is None else [low, high],
        **{name: row[name_of(name)] for name in _SCORE_NAMES},
    }


def _negative(row: Row) -> dict[str, Any] | None:
    status = row[negative("status")]
    return (
        None
        if status is None
        else {
            "status": status,
            "meaning": row[negative("meaning")],
            "polysemanticity": _scores(row, negative),
        }
    )


def _sense(sense: Row, row: Row, text: Texts, spoken: Texts) -> dict[str, Any]:
    ends = ("min", "median", "max")
    sign = 1 if sense["tail"] == "positive" else -1
    return {
        **{name: sense[name] for name in _OF_SENSE},
        "tokens": [
            {
                "token": text(t["token"]),
                "token_id": t["token"],
                "text": spoken(t["token"]),
                **{n: t[n] for n in ("at", "count", "z")},
            }
            for t in sense["tokens"] or ()
        ],
        "activation": {end: sign * sense[f"activation_{end}"] for end in ends},
        **{name: sense[name] for name in ("lexical_diversity", "auprc", "auprc_baseline")},
        **{
            kept: [
                i
                for i, c in enumerate(row[kept] or ())
                if c["tail"] == sense["tail"] and c["sense"] == sense["sense"]
            ]
            for kept in ("contexts", "evidence")
        },
    }


_OF_SENSE = (
    "tail", "sense", "name", "share", "languages", "size", "replication", "sure", "broad", "within",
    "between", "medoid",
)  # fmt: skip


def build_tree(
    row: Row, job: str, tail: str, min_contexts: int, control_medians: Row
) -> dict[str, Any]:
    """The agglomeration of one tail, and what the senses would be at other values of `same_at`.

    control_medians: of the layer's control units, by column.
    """
    name_of = str if tail == "positive" else negative
    sign = 1 if tail == "positive" else -1
    leaves = {
        kept: [
            (i, c)
            for i, c in enumerate(row[kept] or ())
            if c["tail"] == tail and sign * c["activation"] > 0
        ]
        for kept in ("contexts", "evidence")
    }
    given = _grouping(row, [c for kept in leaves.values() for _, c in kept], name_of, min_contexts)
    return {
        "object": "tree",
        "job": job,
        **{name: row[name] for name in ("layer", "neuron", "same_at")},
        "tail": tail,
        **{kept: [i for i, _ in found] for kept, found in leaves.items()},
        "merges": given.merges if given else [],
        "score": row[name_of("polysemanticity")],
        "control_score": control_medians.get(name_of("polysemanticity")),
        "curve": draw_curve(given) if given else [],
    }


def find_medians(summary: Row, layer: int) -> Row:
    """What a result's summary says of a layer's control units; nothing where it has none."""
    for found in summary["layers"]:
        if found["layer"] == layer:
            return (found.get("controls") or {}).get("medians") or {}
    return {}


def _grouping(
    row: Row, contexts: list[Row], name_of: Callable[[str], str], min_contexts: int
) -> Grouping | None:
    """None when senses were not asked for, or the tail was not."""
    if row[name_of("merges")] is None:
        return None
    return Grouping(
        merges=row[name_of("merges")],
        mass=[abs(c["activation"]) for c in contexts],
        sense=[c["sense"] for c in contexts],
        same_at=row["same_at"],
        counts={name: row[name_of(name)] for name in ("sense_count", "coverage")},
        min_contexts=min_contexts,
    )


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


def _peak_token(peak: Row, text: Texts, spoken: Texts) -> dict[str, Any]:
    return {
        "token": text(peak["token"]),
        "token_id": peak["token"],
        "text": spoken(peak["token"]),
        **{n: peak[n] for n in ("count", "mean", "max")},
    }


def _context(context: Row, text: Texts, vocabulary: Vocabulary) -> dict[str, Any]:
    plain = (
        "tail",
        "sample",
        "band",
        "document",
        "window",
        "position",
        "activation",
        "sense",
        "display_start",
    )
    spans = zip(context["token_starts"], context["token_ends"], strict=True)
    return {
        **{name: context[name] for name in plain},
        "char_span": [context["char_start"], context["char_end"]],
        "text": context["text"],
        "peak_span": _span(context["peak_start"], context["peak_end"]),
        "peak": context["position"] - context["display_start"],
        "tokens": [text(t) for t in context["tokens"]],
        "spans": [_span(*span) for span in spans],
        "special": [i for i, t in enumerate(context["tokens"]) if t in vocabulary.special],
        "activations": context["activations"],
    }


def _evidence(entry: Row, text: Texts, spoken: Texts) -> dict[str, Any]:
    plain = ("tail", "sample", "band", "document", "window", "position", "activation", "sense")
    return {
        **{name: entry[name] for name in plain},
        "char_span": [entry["char_start"], entry["char_end"]],
        "token": text(entry["token"]),
        "token_id": entry["token"],
        "text": spoken(entry["token"]),
    }


def _span(start: int | None, end: int | None) -> list[int | None] | None:
    return None if start is None else [start, end]


def _logits(row: Row, text: Texts) -> dict[str, Any] | None:
    if row["promoted"] is None or row["suppressed"] is None:
        return None
    return {
        side: [
            {"token": text(e["token"]), "token_id": e["token"], "logit": e["logit"]}
            for e in row[side]
        ]
        for side in ("promoted", "suppressed")
    }


def _links(row: Row, job: str, model: str, base: str) -> dict[str, str]:
    here = f"{base}/v1/jobs/{job}"
    neuron = f"{here}/neurons/{row['layer']}/{row['neuron']}"
    return {
        "self": neuron,
        "job": here,
        "tree": f"{neuron}/tree",
        "manifest": f"{here}/manifest",
        "model": f"{base}/v1/models/{model}",
    }


def _read_texts(row: Row, vocabulary: Vocabulary) -> Texts:
    """Looks all tokens of the row up at once."""
    ids = sorted(set(_token_ids(row)))
    return dict(zip(ids, vocabulary.read(ids), strict=True)).__getitem__


def _read_spoken(row: Row, text: Texts) -> Texts:
    """What the contexts say most often where a token stands that is a part of a character; of any
    other its text.
    """
    parts = {t for t in _token_ids(row) if "<0x" in text(t)}
    found: dict[int, Counter[str]] = {t: Counter() for t in parts}
    for context in row["contexts"] or () if parts else ():
        places = zip(context["tokens"], context["token_starts"], context["token_ends"], strict=True)
        for token, start, end in places:
            if token in parts and start is not None:
                found[token][context["text"][start:end]] += 1
    said = {t: counts.most_common(1)[0][0] for t, counts in found.items() if counts}
    return lambda token: said.get(token) or text(token)


def _token_ids(row: Row) -> Iterable[int]:
    for context in row["contexts"] or ():
        yield from context["tokens"]
    for sense in row["senses"] or ():
        yield from (t["token"] for t in sense["tokens"] or ())
    for name in ("evidence", "peak_tokens", "promoted", "suppressed"):
        yield from (entry["token"] for entry in row[name] or ())
