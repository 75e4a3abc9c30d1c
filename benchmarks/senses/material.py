"""What the benchmarks of senses work on: the corpus in the model's windows, and what the library
compares at places in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.senses.brown import Document, read_documents
from benchmarks.senses.occurrences import (
    NONE,
    SHORTEST,
    WINDOW,
    Occurrences,
    Windows,
    cut_windows,
    find_occurrences,
)
from benchmarks.senses.vectors import Vectors, extract, near_tokens
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import Senses
from polyseme.workers.analysis.contexts.peak_places import NEAR
from polyseme.workers.analysis.files.arrays import pack_texts
from polyseme.workers.analysis.models.capture import reference_layers
from polyseme.workers.analysis.models.encoder import LazyEncoder, WordEncoder
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.senses.background import is_random_token
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
    Peaks,
    add_parts,
    layer_material,
)
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import TOPICS, WORDS, PairKind

_SENTENCE = 24  # tokens on each side of a peak that a sentence encoder reads
QUICK_WINDOWS = 400


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents in windows, the model that is to read them, and the encoder of words."""

    documents: Sequence[Document]
    windows: Windows
    model: LoadedModel
    encoder: WordEncoder

    @cached_property
    def random(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and positions of the background's tokens, (R,) each, drawn as a job draws them."""
        inside = self.windows.ids >= 0
        numbers, positions = np.arange(len(inside))[:, None], np.arange(WINDOW)
        drawn = inside & is_random_token(numbers, positions, int(inside.sum()))
        row, position = np.nonzero(drawn)
        return row, position

    @cached_property
    def found(self) -> Occurrences:
        return find_occurrences(self.windows, self.documents)

    def words(self, row: np.ndarray, position: np.ndarray) -> list[str]:
        """The whole word at each place; "" between words."""
        document, word = self.windows.document[row], self.windows.word[row, position]
        return [
            "" if w == NONE else self.documents[d].words[w].form
            for d, w in zip(document.tolist(), word.tolist(), strict=True)
        ]

    def run(self, row: np.ndarray, position: np.ndarray, cache: Path | None) -> ReadCorpus:
        """Runs the model over the windows of these places and of the random tokens."""
        rows, positions = self.random
        keys = np.concatenate([row * WINDOW + position, rows * WINDOW + positions])
        return ReadCorpus(self, extract(self.model, self.windows, keys, cache))


@dataclass(frozen=True, eq=False)
class ReadCorpus:
    """A corpus with the model's vectors at some places."""

    corpus: Corpus
    vectors: Vectors

    @cached_property
    def background(self) -> Background:
        row, position = self.corpus.random
        return fit_background(
            self.vectors.find(row, position),
            self._around(row),
            len(reference_layers(self.corpus.model.card.layers)),
            self.corpus.windows.ids,
            row,
            position,
            self.corpus.words(row, position),
            self.corpus.encoder,
        )

    def compare(self, row: np.ndarray, position: np.ndarray, kind: PairKind = WORDS) -> Material:
        """What the library compares at these places, in their order."""
        ids = self.corpus.windows.ids
        return compare_places(
            self.background,
            self.project(row, position),
            self.corpus.words(row, position),
            ids[row, position],
            near_tokens(ids, row, position, NEAR),
            kind,
            self.corpus.encoder,
        )

    def project(self, row: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Projected vectors, as `Background` makes them."""
        return self.background.project(self.vectors.find(row, position), self._around(row))

    def sentences(self, row: np.ndarray, position: np.ndarray) -> np.ndarray:
        """The sentence encoder's vectors of what stands around each place, (n, E)."""
        near = near_tokens(self.corpus.windows.ids, row, position, _SENTENCE)
        decode = self.corpus.model.tokenizer.backend_tokenizer.decode
        texts = [decode(ids[ids >= 0].tolist(), skip_special_tokens=False) for ids in near]
        return self.corpus.encoder.encode(texts)

    def _around(self, rows: np.ndarray) -> np.ndarray:
        """The means over windows, as the service takes them around a token: (n, D) float32."""
        parts = len(reference_layers(self.corpus.model.card.layers))
        return add_parts(self.vectors.windows[rows], parts)


def fit_background(
    residual: np.ndarray,
    around: np.ndarray,
    parts: int,
    ids: np.ndarray,
    row: np.ndarray,
    position: np.ndarray,
    words: Sequence[str],
    encoder: WordEncoder | None,
) -> Background:
    """residual: (R, parts * D) of the random tokens at row and position; words: theirs."""
    content, offsets = pack_texts(pa.array(words, pa.large_string()))
    nothing, nowhere = pack_texts(pa.array([""] * len(words), pa.large_string()))
    return Background.fit(
        residual,
        around,
        parts,
        encoder,
        row=row,
        window=row.astype(np.int32),
        position=position.astype(np.int32),
        near=near_tokens(ids, row, position, NEAR),
        word_bytes=content,
        word_offsets=offsets,
        before_bytes=nothing,
        before_offsets=nowhere,
        after_bytes=nothing,
        after_offsets=nowhere,
        counts=np.bincount(ids[ids >= 0]),
        special=np.zeros(0, np.int64),
    )


def compare_places(
    background: Background,
    projected: np.ndarray,
    words: Sequence[str],
    token: np.ndarray,
    near: np.ndarray,
    kind: PairKind,
    encoder: WordEncoder | None,
) -> Material:
    """What the library compares at n places, whatever stands at them twice."""
    places = np.arange(len(projected))
    written = pa.array(words, pa.large_string())
    beside = pa.array([""] * len(words), pa.large_string())
    peaks = Peaks(places, places, places, token, written, beside, beside, near)
    options = Senses(vectors="window" if kind is TOPICS else "residual")
    own = encoder if kind is WORDS else None
    return layer_material(options, background, peaks, projected, own)


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--brown", type=Path, required=True, help="folder with the Brown corpus' files"
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="folder with SmolLM2-135M as safetensors"
    )
    parser.add_argument("--cache", type=Path, help="folder to keep the model's vectors in")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")


def read_brown(options: argparse.Namespace, windows: int | None = None) -> Corpus:
    """The Brown corpus; windows: only so many of them, drawn at random."""
    documents = list(read_documents(options.brown))
    corpus = read_corpus(documents, options.model, options.device)
    if windows is None:
        return corpus
    return Corpus(documents, corpus.windows.take(windows), corpus.model, corpus.encoder)


def read_corpus(
    documents: Sequence[Document], model: Path, device: str, shortest: int = SHORTEST
) -> Corpus:
    """shortest: tokens of a window, below which it is left out."""
    entry = Entry("model", "path", str(model.resolve()))
    # A folder needs no converting, so no cache.
    loaded = load_model(entry, device=device, dtype="float32", cache=model)
    windows = cut_windows(documents, partial(_tokenize, loaded), shortest)
    return Corpus(documents, windows, loaded, LazyEncoder().get())


def _tokenize(model: LoadedModel, text: str) -> tuple[np.ndarray, np.ndarray]:
    [(ids, starts, ends)] = tokenize(model.tokenizer, [text])
    return ids, np.stack([starts, ends], 1)
