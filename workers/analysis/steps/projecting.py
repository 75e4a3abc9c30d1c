"""Between scan and merges: what is usual in the corpus, and the vectors made short by it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from polyseme.contract.files.results import BACKGROUND
from polyseme.workers.analysis.corpus.plan import Plan, open_windows, read_plan
from polyseme.workers.analysis.corpus.windows import Windows, read_blocks
from polyseme.workers.analysis.files.arrays import pack_texts
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame
from polyseme.workers.analysis.senses.background import find_random_tokens
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    add_parts,
)
from polyseme.workers.analysis.senses.vectors import (
    project_vectors,
    read_around,
)
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.copies import first_copy
from polyseme.workers.analysis.steps.word_encoder import chosen_encoder


def background_file(analysis: Analysis) -> str:
    folder = analysis.work if analysis.scanned else first_copy(analysis)
    return f"{folder}/{BACKGROUND}"


def measure_background(
    analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never
) -> None:
    """Fits what is usual in the corpus, from the vectors of its random tokens. Raises Cancelled."""
    plan = read_plan(analysis.store, analysis.work)
    counts = np.zeros(analysis.card.vocabulary, np.int64)
    full = analysis.request.contexts.window
    found, texts = [], []
    for row, windows in _all_windows(analysis, plan):
        check_stop(should_stop)
        counts += np.bincount(windows.ids[windows.counted], minlength=len(counts))
        places, at_places = find_random_tokens(windows, row, plan.counted_tokens, full)
        found.append(places)
        texts.append(at_places)
    tokens = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    tokens["near"] = np.concatenate([part.near for part in texts])
    for name in ("word", "before", "after"):
        joined = pa.concat_arrays([getattr(part, name) for part in texts])
        tokens[f"{name}_bytes"], tokens[f"{name}_offsets"] = pack_texts(joined)
    framing = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos)
    special = np.array(sorted(framing.special), np.int32)
    parts = len(reference_layers(analysis.card.layers))
    at = tokens["row"], tokens["position"]
    pieces = read_around(
        analysis.store, analysis.vectors, plan, *at, lambda block: add_parts(block, parts)
    )
    residual, around = map(np.concatenate, zip(*until(pieces, should_stop), strict=True))
    encoder = analysis.encoder.find(chosen_encoder(analysis))
    background = Background.fit(
        residual, around, parts, encoder, counts=counts, special=special, **tokens
    )
    background.write(analysis.store, background_file(analysis))


def project_shard(analysis: Analysis, shard: int, *, should_stop: Stop = never) -> None:
    """Turns the residual vectors of a shard into those that senses are made of, once for all
    layers.
    """
    background = Background.read(analysis.store, background_file(analysis))

    def project(block: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        check_stop(should_stop)
        return background.project_windows(block, lengths)

    project_vectors(analysis.store, analysis.vectors, analysis.projected, shard, project)


def _all_windows(analysis: Analysis, plan: Plan) -> Iterator[tuple[int, Windows]]:
    """Every block's first row and windows."""
    row = 0
    for number in range(len(plan.shards)):
        with open_windows(analysis.store, analysis.work, plan, number) as f:
            for windows in read_blocks(f):
                yield row, windows
                row += len(windows)
