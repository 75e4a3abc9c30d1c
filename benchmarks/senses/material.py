"""What the benchmark works on: the corpus in the model's windows, units of one split, and the
vectors at all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.senses.brown import read_documents
from benchmarks.senses.concepts import gather_concepts
from benchmarks.senses.occurrences import (
    WINDOW,
    Occurrences,
    Windows,
    cut_windows,
    find_occurrences,
)
from benchmarks.senses.units import Plan, Unit, build_units
from benchmarks.senses.vectors import Vectors, extract, near_tokens
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.encoder import LazyEncoder, WordEncoder
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokenizer import TextTokenizer
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.senses.background import NEAR, is_random_token
from polyseme.workers.analysis.senses.layer_senses import Background, add_parts

_SENTENCE = 24  # tokens on each side of a peak that a sentence encoder reads


@dataclass(frozen=True, eq=False)
class Material:
    windows: Windows
    found: Occurrences
    units: list[Unit]
    vectors: Vectors
    random: tuple[
        np.ndarray, np.ndarray
    ]  # rows and positions of the background's tokens, (R,) each
    parts: int  # reference layers
    tokenizer: TextTokenizer
    vocabulary: list[str]
    encoder: WordEncoder

    def at(self, places: np.ndarray) -> np.ndarray:
        """Residual vectors, (n, K * D) float16."""
        return self.vectors.find(self.found.row[places], self.found.position[places])

    def around(self, rows: np.ndarray) -> np.ndarray:
        """The means over windows, as the service takes them around a token: (n, D) float32."""
        return add_parts(self.vectors.windows[rows], self.parts)

    def project(self, background: Background, places: np.ndarray) -> np.ndarray:
        """Projected vectors, as `Background` makes them."""
        return background.project(self.at(places), self.around(self.found.row[places]))

    def near(self, places: np.ndarray, reach: int = NEAR) -> np.ndarray:
        return near_tokens(
            self.windows.ids, self.found.row[places], self.found.position[places], reach
        )

    def background(self) -> Background:
        residual, around = self.vectors.find(*self.random), self.around(self.random[0])
        return fit_background(residual, around, self.parts, self.windows.ids, *self.random)

    def sentences(self, row: np.ndarray, position: np.ndarray) -> np.ndarray:
        """The sentence encoder's vectors of what stands around each place, (n, E)."""
        near = near_tokens(self.windows.ids, row, position, _SENTENCE)
        decode = self.tokenizer.backend_tokenizer.decode
        texts = [decode(ids[ids >= 0].tolist(), skip_special_tokens=False) for ids in near]
        return self.encoder.encode(texts)


def fit_background(
    residual: np.ndarray,
    around: np.ndarray,
    parts: int,
    ids: np.ndarray,
    row: np.ndarray,
    position: np.ndarray,
) -> Background:
    return Background.fit(
        residual,
        around,
        parts,
        row=row,
        window=row.astype(np.int32),
        position=position.astype(np.int32),
        near=near_tokens(ids, row, position, NEAR),
        counts=np.bincount(ids[ids >= 0]),
        special=np.zeros(0, np.int64),
    )


def random_tokens(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions, drawn as a job draws them."""
    inside = windows.ids >= 0
    numbers, positions = np.arange(len(windows.ids))[:, None], np.arange(WINDOW)
    row, position = np.nonzero(inside & is_random_token(numbers, positions, int(inside.sum())))
    return row, position


def gather(
    brown: Path,
    model: Path,
    split: str,
    seeds: Sequence[int],
    plan: Plan,
    cache: Path | None,
    device: str,
) -> Material:
    """Reads the corpus, draws the units and runs the model over the windows they are in."""
    loaded, encoder = _load(model, device), LazyEncoder().get()
    documents = list(read_documents(brown))
    windows = cut_windows(documents, partial(_tokenize, loaded))
    found = find_occurrences(windows, documents)
    units = build_units(found, gather_concepts(found, split, encoder.encode), split, seeds, plan)
    random, places = random_tokens(windows), np.concatenate([u.places for u in units])
    keys = np.concatenate(
        [found.row[places] * WINDOW + found.position[places], random[0] * WINDOW + random[1]]
    )
    file = cache / f"vectors-{split}.npz" if cache else None
    vectors = extract(loaded, windows, keys, file)
    parts = len(reference_layers(loaded.card.layers))
    return Material(
        windows, found, units, vectors, random, parts, loaded.tokenizer, loaded.vocabulary, encoder
    )


def _load(model: Path, device: str) -> LoadedModel:
    entry = Entry("smollm2-135m", "path", str(model.resolve()))
    return load_model(
        entry, device=device, dtype="float32", cache=model
    )  # a folder needs no converting, so no cache


def _tokenize(model: LoadedModel, text: str) -> tuple[np.ndarray, np.ndarray]:
    [(ids, starts, ends)] = tokenize(model.tokenizer, [text])
    return ids, np.stack([starts, ends], 1)
