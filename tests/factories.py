"""Records and files for tests: plausible, small, and the same for the same seed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import statistics
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from polyseme.contract.board.board import Board
from polyseme.contract.board.units import Lease
from polyseme.contract.files.column import STATUSES, negative
from polyseme.contract.files.documents import write_documents
from polyseme.contract.files.results import (
    BINS,
    FORMAT,
    GHOST_SCALARS,
    GHOSTS,
    MANIFEST,
    NEURONS,
    QUANTILES,
    REPORT_ROWS,
    REPORTS,
    SCALARS,
    SCORES,
    SUMMARY,
    TOKENS,
    VOCABULARY,
    ZERO_BIN,
    report_file,
)
from polyseme.contract.files.safetensors import format_header
from polyseme.contract.files.seals import format_manifest, seal_stream
from polyseme.contract.files.store import Layout, Store
from polyseme.contract.names import DEFAULT_QUEUE
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.job import Corpus, Job
from polyseme.contract.records.model_card import ModelCard, SiteCard
from polyseme.contract.records.request import AnalysisRequest
from polyseme.contract.records.vector_set import VectorSet
from polyseme.workers.analysis.reports.summary import summarise

MODEL = "tiny-gated"
PLAN = {"tokens": 640, "counted_tokens": 640, "windows": 60, "documents": 30}
WORDS = (
    "river",
    "bank",
    "money",
    "stone",
    "light",
    "seven",
    "blue",
    "run",
    "the",
    "of",
    "and",
    "in",
)


def make_card(**changes: Any) -> ModelCard:
    """A decoder of 4 layers with 48 neurons each."""
    values: dict[str, Any] = {
        "id": MODEL,
        "source": f"path:/models/{MODEL}",
        "family": "llama",
        "kind": "decoder",
        "layers": 4,
        "neurons": 48,
        "gated": True,
        "hidden_size": 16,
        "vocabulary": 2 * len(WORDS),
        "max_positions": 512,
        "bos": "available",
        "separator": True,
        "sites": (SiteCard("mlp", 48, "blocks.{layer}.mlp.hook_post", signed=True),),
    }
    return ModelCard(**values | changes)


def make_dictionary(**changes: Any) -> DictionaryCard:
    """Of 64 latents of the MLP neurons of layer 1 of `make_card`'s model."""
    values: dict[str, Any] = {
        "id": "mlp-1",
        "model": MODEL,
        "hook": "blocks.1.mlp.hook_post",
        "site": "mlp",
        "layer": 1,
        "architecture": "topk",
        "latents": 64,
        "width": 48,
        "format": "saelens",
        "sha256": "0a" * 32,
        "neuronpedia": "tiny/1-mlp-64",
        "expected_l0": 8.0,
        "source": "path:mlp-1",
        "fingerprint": "0b" * 32,
    }
    return DictionaryCard(**values | changes)


def make_texts(count: int = 30, *, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{i}: {' '.join(rng.choices(WORDS, k=20))}." for i in range(count)]


def make_corpus(**changes: Any) -> Corpus:
    """A corpus' record alone; `add_corpus` makes one with documents."""
    values: dict[str, Any] = {
        "id": "notes",
        "sha256": "0" * 64,
        "documents": 30,
        "characters": 3000,
        "utf8_bytes": 3000,
        "duplicates_dropped": 0,
        "empty_dropped": 0,
        "created_at": 1_760_000_000.0,
    }
    return Corpus(**values | changes)


def add_corpus(
    board: Board, store: Store, texts: Sequence[str] | None = None, name: str | None = "notes"
) -> Corpus:
    """A corpus on the board with its documents in the store."""
    file = io.BytesIO()
    corpus = write_documents(texts or make_texts(), file, name=name, max_documents=10_000)
    store.write(Layout.documents(corpus.id), file.getvalue())
    return board.registry.add_corpus(corpus)


def add_vectors(
    board: Board, store: Store, tenant: str = "default", count: int = 3, **changes: Any
) -> VectorSet:
    """A set of random directions on the board with its file in the store."""
    values: dict[str, Any] = {"model": MODEL, "site": "resid_post", "layer": 2, "width": 16}
    values |= {"id": "vec_0123456789abcdef01234567", "count": count, "name": None, "labels": False}
    values |= {"has_bias": False, "normalized": False, "units_sha256": "0" * 64} | changes
    width, draw = values["width"], random.Random(0).gauss
    numbers = [draw(0, 1) for _ in range(count * width)]
    content = format_header({"vectors": (count, width)}, {})
    content += struct.pack(f"<{len(numbers)}f", *numbers)
    vectors = VectorSet(
        **values,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        created_at=1_760_000_000.0,
    )
    store.write(Layout.vectors(vectors.id, tenant), content)
    return board.registry.add_vectors(vectors, tenant)


def make_body(**changes: Any) -> dict[str, Any]:
    """The JSON of POST /v1/jobs."""
    return {"model": MODEL, "corpus": {"id": "notes"}, **changes}


def make_request(**changes: Any) -> AnalysisRequest:
    return AnalysisRequest.from_dict(make_body(**changes))


def open_job(board: Board, **changes: Any) -> Job:
    """A queued job none of whose units waits, as if its first had waited in vain."""
    opened = board.jobs.open(make_request(**changes))
    withdraw_units(board, opened.job)
    job = board.jobs.get(opened.job)
    assert job is not None
    return job


def withdraw_units(board: Board, job: str) -> None:
    """Has no unit of a job wait any more."""
    redis, keys = board.units._redis, board.units._keys
    lane, tenant = redis.hmget(keys.job(job), "lane", "tenant")
    # A worker that runs may have taken the first already.
    if waiting := redis.zrange(keys.waiting(job), 0, -1):
        redis.zrem(keys.flight(job), *waiting)
    redis.delete(keys.waiting(job))
    redis.zrem(keys.lane_jobs(lane, tenant), job)
    if not redis.exists(keys.lane_jobs(lane, tenant)):
        redis.zrem(keys.lane(lane), tenant)
    redis.hdel(keys.job(job), "lane", "served")


def queue_alone(board: Board, job: str, unit: str) -> None:
    """Has one unit wait for a worker, and no other: those that waited are given back."""
    while other := board.units.take([DEFAULT_QUEUE], lease_s=30):
        board.units.release(other, forget_attempt=True)
    board.units.claim(job, [unit], room=1000, patience_s=60)


def take_unit(
    board: Board, job: str, unit: str, *, lease_s: float, token: str | None = None
) -> Lease | None:
    """The lease on one unit, out of turn; None when it is done, held, or its job is over."""
    queue_alone(board, job, unit)
    return board.units.take([DEFAULT_QUEUE], lease_s=lease_s, token=token)


def run_job(
    board: Board, job: str, *, tokens: int = 640, layers: int = 4, status: str = "succeeded"
) -> Job:
    """Takes a queued job through the board as workers do, to its end."""
    lease = take_unit(board, job, "plan", lease_s=30)
    assert lease is not None
    fields: Mapping[str, Any] = {
        "tokens_total": tokens,
        "shards_total": 1,
        "layers_total": layers,
        "phase": "scanning",
        "scan_began_at": "@now",
    }
    board.units.finish(job, "plan", fields=fields)
    board.units.finish(
        job, "scan:0", counter="shards_done", tokens=tokens, fields={"scan_ended_at": "@now"}
    )
    for layer in range(layers):
        board.units.finish(job, f"merge:{layer}", counter="layers_done")
    error = {"code": "analysis_failed", "detail": "it did not work"} if status == "failed" else None
    board.jobs.end(job, status, error)
    found = board.jobs.get(job)
    assert found is not None
    return found


def write_result(
    store: Store,
    job: str,
    *,
    layers: Sequence[int] = (0, 1, 2, 3),
    neurons: Sequence[int] = tuple(range(48)),
    decoder: bool = True,
    contexts: int = 6,
    context_tokens: int = 8,
    evidence: int = 4,
    banded: bool = False,
    senses: bool = False,
    controls: int = 8,
    seed: int = 0,
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """A result in the schemas of `contract/files/results.py`, of random numbers.

    Some values are null, as in real ones.

    evidence: contexts a neuron beyond the shown ones; banded: sampled from bands.

    senses: with neurons of every status that has a meaning instead of `not_scored`, and so many
    controls a layer; manifest: what it has besides the seals, `make_manifest` for None.
    """
    rng = random.Random(seed)
    folder = Layout.result(job)
    vocabulary = make_vocabulary()
    scalars: list[dict[str, Any]] = []
    for layer in layers:
        rows = [
            _make_row(rng, layer, n, len(vocabulary), decoder, contexts, context_tokens, evidence)
            for n in neurons
        ]
        rows = [_put_in_bands(row) for row in rows] if banded else rows
        rows = [_add_senses(rng, row) if senses else row for row in rows]
        scalars += [_scalars_of(row) for row in rows]
        _write_table(
            store,
            f"{folder}/{report_file(layer)}",
            pa.Table.from_pylist(rows, REPORTS),
            REPORT_ROWS,
        )
    _write_table(store, f"{folder}/{NEURONS}", pa.Table.from_pylist(scalars, SCALARS), 1 << 20)
    _write_table(store, f"{folder}/{TOKENS}", _vocabulary_table(vocabulary), 1 << 20)
    summary = summarise(pa.Table.from_pylist(scalars, SCALARS), PLAN)
    if senses and controls:
        ghosts = [_make_control(rng, layer, n) for layer in layers for n in range(controls)]
        _write_table(store, f"{folder}/{GHOSTS}", pa.Table.from_pylist(ghosts, GHOST_SCALARS), 1000)
        summary["controls"] = _summarise_controls(ghosts)
        for found in summary["layers"]:
            of_layer = [g for g in ghosts if g["layer"] == found["layer"]]
            found["controls"] = _summarise_controls(of_layer)
    store.write(f"{folder}/{SUMMARY}", json.dumps(summary).encode())
    seal_result(store, job, make_manifest(layers) if manifest is None else manifest)


def make_manifest(layers: Sequence[int] = (0, 1, 2, 3), **request: Any) -> dict[str, Any]:
    """Without the machine and its versions. request: changes of the one that made the result."""
    hashes = {f"{name}_sha256": 64 * "a" for name in ("config", "weights", "tokenizer")}
    return {
        "format": FORMAT,
        "model": {"id": MODEL, **hashes},
        "corpus": {"id": "notes", "sha256": "0" * 64, "documents": 30},
        "request": make_request(**request).to_dict(),
        "layers": list(layers),
        "plan": PLAN,
    }


def seal_result(store: Store, job: str, manifest: Mapping[str, Any] | None = None) -> None:
    """Writes the manifest of a result, with its files as they are now."""
    folder = Layout.result(job)
    seals = {}
    for name in store.file_sizes(folder).keys() - {MANIFEST}:
        with store.open(f"{folder}/{name}") as f:
            seals[name] = seal_stream(f)
    store.write(f"{folder}/{MANIFEST}", format_manifest(manifest or make_manifest(), seals))


def _vocabulary_table(texts: list[str]) -> pa.Table:
    return pa.table({"text": texts, "special": [False] * len(texts)}, VOCABULARY)


def make_vocabulary() -> list[str]:
    """Each word without and with a space before it."""
    return [*WORDS, *(f" {word}" for word in WORDS)]


def _make_row(
    rng: random.Random,
    layer: int,
    neuron: int,
    vocabulary: int,
    decoder: bool,
    contexts: int,
    length: int,
    evidence: int,
) -> dict[str, Any]:
    dead = rng.random() < 0.1
    top = [_make_context(rng, "top", None, vocabulary, length) for _ in range(contexts)]
    top.sort(key=lambda c: -c["activation"])
    sampled = [
        _make_context(rng, "activation", None, vocabulary, length) for _ in range(contexts // 2)
    ]
    beyond = [_make_evidence(rng, vocabulary) for _ in range(evidence)]
    peaks = _count_peaks(top)
    return {
        **{name: None for f in SCORES for name in (f.name, negative(f.name))},
        "layer": layer,
        "neuron": neuron,
        "hook": f"blocks.{layer}.mlp.hook_post",
        "status": "not_scored",
        "meaning": "Senses were not asked for.",
        "negative_meaning": None,
        "same_at": None,
        "n_tokens": 640,
        "density": 0.0 if dead else rng.random(),
        "mean": rng.gauss(0, 1),
        "std": 0.0 if dead else rng.random() + 0.1,
        "skewness": None if dead else rng.gauss(0, 1),
        "kurtosis": None if dead else rng.gauss(0, 1),
        "min": _float32(-rng.random()),
        "max": top[0]["activation"] if top else _float32(rng.random()),
        "top_contexts": len(top),
        "sampled_contexts": len(sampled) + len(beyond),
        "distinct_contexts": len(top) + len(sampled) + len(beyond),
        "near_duplicates": rng.randrange(4),
        "peak_token": make_vocabulary()[peaks[0]["token"]] if peaks else None,
        "peak_token_share": peaks[0]["count"] / len(top) if peaks else None,
        "peak_token_count": len(peaks),
        "quantiles": sorted(_float32(rng.gauss(0, 1)) for _ in QUANTILES),
        "histogram_first": ZERO_BIN - 1,
        "histogram": [rng.randrange(100) for _ in range(min(20, BINS - ZERO_BIN))],
        "bands": [],
        "peak_tokens": peaks,
        "contexts": top + sampled,
        "evidence": beyond,
        "promoted": _make_logits(rng, vocabulary) if decoder else None,
        "suppressed": _make_logits(rng, vocabulary) if decoder else None,
    }


def _make_context(
    rng: random.Random, sample: str, band: int | None, vocabulary: int, length: int
) -> dict[str, Any]:
    start = rng.randrange(4)
    peak = rng.randrange(length)
    activations = [_float32(rng.random()) for _ in range(length)]
    activations[peak] = _float32(1 + rng.random())
    tokens = [rng.randrange(vocabulary) for _ in range(length)]
    texts = [make_vocabulary()[t] for t in tokens]
    ends = list(accumulate(map(len, texts)))
    starts = [0, *ends[:-1]]
    return {
        "tail": "positive",
        "sample": sample,
        "band": band,
        "document": rng.randrange(30),
        "window": rng.randrange(60),
        "position": start + peak,
        "char_start": 4 * peak,
        "char_end": 4 * peak + 4,
        "activation": activations[peak],
        "sense": None,
        "display_start": start,
        "tokens": tokens,
        "activations": activations,
        "text": "".join(texts),
        "peak_start": starts[peak],
        "peak_end": ends[peak],
        "token_starts": starts,
        "token_ends": ends,
    }


def _put_in_bands(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its sample from bands of one unit of activation, one context a band."""
    sampled = [c for c in row["contexts"] if c["sample"] != "top"]
    for band, context in enumerate(sampled):
        context |= {"sample": "interval", "band": band}
    bands = [
        {
            "tail": "positive",
            "band": b,
            "low": float(b),
            "high": None if b == 4 else b + 1.0,
            "windows": b,
        }
        for b in range(5)
    ]
    return {**row, "bands": bands, "evidence": []}


def _make_evidence(rng: random.Random, vocabulary: int) -> dict[str, Any]:
    start = 4 * rng.randrange(20)
    return {
        "tail": "positive",
        "sample": "activation",
        "band": None,
        "document": rng.randrange(30),
        "window": rng.randrange(60),
        "position": rng.randrange(1, 20),
        "char_start": start,
        "char_end": start + 4,
        "activation": _float32(0.5 + rng.random() / 2),
        "token": rng.randrange(vocabulary),
        "sense": None,
    }


def _add_senses(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """The row with 1 to 4 senses that hold every context, or half of them of one that is only
    described. The last of four is tentative, the second and third are of one broad sense.
    """
    count = rng.choice([0, 1, 2, 3, 4])
    kept = [*row["contexts"], *row["evidence"]]
    for i, context in enumerate(kept):
        context["sense"] = i % count if count else (0 if i % 2 else None)
    senses = [_make_sense(rng, row, s, max(count, 1)) for s in range(max(count, 1))]
    sure = sum(s["sure"] for s in senses)
    scores = {
        "status": "described" if not count else "polysemantic" if sure > 1 else "monosemantic",
        **_make_scores(rng, len(senses), sure),
        "coverage": 1.0 if count else 0.5,
        "broad_count": len({s["broad"] for s in senses}),
        "selectivity": 2 + 3 * rng.random() if count else rng.gauss(0, 1),
        "selectivity_percentile": 0.95 + rng.random() / 20 if count else 0.9 * rng.random(),
    }
    return {
        **row,
        **scores,
        "meaning": _describe_senses(senses),
        "same_at": 0.35,
        "senses": senses,
        "merges": _make_merges(rng, len(kept)),
    }


def _describe_senses(senses: Sequence[Mapping[str, Any]]) -> str:
    return f"Fires in this text for {' and '.join(s['name'] for s in senses)}."


def _make_scores(rng: random.Random, senses: int, sure: int) -> dict[str, Any]:
    """Those of a tail with senses of equal share, but its status and its coverage's height."""
    score = 1 - 1 / senses + 0.05 * rng.random()
    return {
        "polysemanticity": score,
        "polysemanticity_low": max(0.0, score - 0.1),
        "polysemanticity_high": min(1.0, score + 0.1),
        "score_percentile": rng.random(),
        "effective_senses": 1 / (1 - score),
        "sense_count": senses,
        "sure_count": sure,
        "coverage_percentile": rng.random(),
        "monosemanticity_score": rng.random(),
    }


def _make_control(rng: random.Random, layer: int, number: int) -> dict[str, Any]:
    senses = rng.choice([1, 2, 3])
    of_stats = ("n_tokens", "density", "mean", "std", "skewness", "kurtosis", "min", "max")
    return {f.name: None for f in GHOST_SCALARS} | {
        **{name: 0 if name == "n_tokens" else rng.random() for name in of_stats},
        **_make_scores(rng, senses, 0),
        "layer": layer,
        "ghost": number,
        "status": "described",
        "same_at": 0.35,
        "coverage": rng.random(),
        "broad_count": senses,
        "selectivity": rng.gauss(0, 1),
        "selectivity_percentile": 0.9 * rng.random(),
        "n_tokens": 640,
        "top_contexts": 6,
        "sampled_contexts": 6,
        "distinct_contexts": 12,
        "near_duplicates": 0,
        "peak_token": rng.choice(WORDS),
        "peak_token_share": rng.random(),
        "peak_token_count": 4,
    }


def _summarise_controls(ghosts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = ("polysemanticity", "coverage", "effective_senses")
    return {
        "units": len(ghosts),
        "statuses": {name: sum(g["status"] == name for g in ghosts) for name in STATUSES},
        "medians": {name: statistics.median(g[name] for g in ghosts) for name in names},
    }


def _make_sense(
    rng: random.Random, row: Mapping[str, Any], sense: int, count: int
) -> dict[str, Any]:
    shown = [i for i, c in enumerate(row["contexts"]) if c["sense"] == sense]
    held = [c for c in (*row["contexts"], *row["evidence"]) if c["sense"] == sense]
    activations = sorted(c["activation"] for c in held)
    is_sure = sense < 3
    tokens = row["contexts"][shown[0]]["tokens"][:3] if shown else []
    return {
        "tail": "positive",
        "sense": sense,
        "name": f"the word “{WORDS[sense]}”",
        "share": _float32(1 / count),
        "languages": [{"language": "Latin", "share": 1.0}],
        "size": len(held),
        "replication": _float32(0.8 + rng.random() / 5 if is_sure else 0.8 * rng.random()),
        "sure": is_sure,
        "broad": min(sense, 1) if is_sure else 2,
        "within": _float32(0.5 + rng.random() / 2),
        "between": _float32(0.3 * rng.random()) if count > 1 else None,
        "medoid": shown[0] if shown else None,
        "activation_min": activations[0],
        "activation_median": activations[len(activations) // 2],
        "activation_max": activations[-1],
        "lexical_diversity": _float32(rng.random()),
        "auprc": _float32(rng.random()),
        "auprc_baseline": _float32(rng.random() / 10),
        "tokens": [{"token": t, "at": "peak", "count": 2, "z": 3.5} for t in tokens],
    }


def _make_merges(rng: random.Random, contexts: int) -> list[dict[str, Any]]:
    """A chain: each context joins what was joined before."""
    means = sorted((_float32(rng.random()) for _ in range(contexts - 1)), reverse=True)
    pieces = [(0, 1), *((contexts + i - 1, i + 1) for i in range(1, contexts - 1))]
    return [{"left": a, "right": b, "same_at": m} for (a, b), m in zip(pieces, means, strict=True)]


def _count_peaks(contexts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[int, list[float]] = {}
    for c in contexts:
        found.setdefault(c["tokens"][c["position"] - c["display_start"]], []).append(
            c["activation"]
        )
    peaks = [
        {"token": t, "count": len(v), "mean": _float32(sum(v) / len(v)), "max": max(v)}
        for t, v in found.items()
    ]
    return sorted(peaks, key=lambda p: (-p["count"], p["token"]))


def _make_logits(rng: random.Random, vocabulary: int) -> list[dict[str, Any]]:
    return [
        {"token": rng.randrange(vocabulary), "logit": _float32(rng.gauss(0, 1))} for _ in range(5)
    ]


def _scalars_of(row: Mapping[str, Any]) -> dict[str, Any]:
    lists = {"peak_token_ids": [p["token"] for p in row["peak_tokens"]], "peak_texts": []}
    return {f.name: row.get(f.name) for f in SCALARS} | lists


def _float32(value: float) -> float:
    found: float = pa.scalar(value, pa.float32()).as_py()
    assert math.isfinite(found)
    return found


def _write_table(store: Store, path: str, table: pa.Table, rows: int) -> None:
    with store.writing(path) as f:
        options = {"compression": "zstd", "write_page_checksum": True}
        pq.write_table(table, f, row_group_size=rows, **options)
