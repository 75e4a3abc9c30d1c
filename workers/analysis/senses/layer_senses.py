"""Senses of one layer: from its contexts and the vectors at their peaks to what the result says of
them.

Between `find_senses`, which knows arrays only, and the steps, which know where files are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from polyseme.contract.files.seals import Writes
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Senses, Tail
from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.files.arrays import read_arrays, unpack_texts, write_arrays
from polyseme.workers.analysis.machine.stopping import Stop, never
from polyseme.workers.analysis.models.encoder import WordEncoder
from polyseme.workers.analysis.senses.background import (
    FINE_RANK,
    RANK,
    TOPIC_RANK,
    Axes,
    to_unit,
)
from polyseme.workers.analysis.senses.find_senses import find_senses
from polyseme.workers.analysis.senses.material import (
    Material,
    find_spelling,
    measure_scale,
    measure_scales,
    number_words,
)
from polyseme.workers.analysis.senses.pairs import NO_WORD, TOPICS, kind_of_pairs
from polyseme.workers.analysis.senses.records import Evidence, TailSenses
from polyseme.workers.analysis.senses.sense_tokens import find_sense_tokens
from polyseme.workers.analysis.senses.vectors import around, to_half


@dataclass(frozen=True, eq=False)
class Background:
    """The random tokens of a corpus, and how often each token stands in it.

    R tokens, by row and position.

    Its axes turn residual vectors into *projected* ones, (n, P + Q + T) float16: P numbers that
    tell senses apart, as a vector of length 1, Q that tell uses of one word apart, and T that tell
    apart what stands around.
    """

    row: np.ndarray  # (R,) int64
    window: np.ndarray  # (R,) int32
    position: np.ndarray  # (R,) int32
    near: np.ndarray  # (R, W) int32 tokens around each, itself in the middle; -1 outside
    word_bytes: np.ndarray  # of the words that they stand in, see `words`
    word_offsets: np.ndarray  # (R + 1,)
    before_bytes: np.ndarray  # of what stands before and behind these, see `sides`
    before_offsets: np.ndarray
    after_bytes: np.ndarray
    after_offsets: np.ndarray
    counts: np.ndarray  # (V,) int64, over the corpus' counted tokens
    special: np.ndarray  # ids that stand for no text
    projected: np.ndarray  # (R, P + Q + T) float16
    mean: np.ndarray  # of the residual vectors' sums, see `background.Axes`
    axes: np.ndarray
    fine_mean: np.ndarray  # of the last reference layer alone
    fine_axes: np.ndarray
    topic_mean: np.ndarray  # of the means around tokens
    topic_axes: np.ndarray
    scales: np.ndarray  # (2, 6) see `pairs.fill_chances`: of peaks, and of what stands around

    @classmethod
    def fit(
        cls,
        residual: np.ndarray,
        around: np.ndarray,
        parts: int,
        encoder: WordEncoder | None,
        **tokens: np.ndarray,
    ) -> Background:
        """residual: (R, parts * D); around: (R, D), the means of `add_parts` around the tokens."""
        summed, last = _split(residual, parts)
        senses, uses = Axes.of(summed, RANK), Axes.of(last, FINE_RANK)
        topics = Axes.of(around, TOPIC_RANK, power=0.0)
        unscaled = cls(
            projected=_project(summed, last, around, senses, uses, topics),
            mean=senses.mean,
            axes=senses.axes,
            fine_mean=uses.mean,
            fine_axes=uses.axes,
            topic_mean=topics.mean,
            topic_axes=topics.axes,
            scales=np.zeros((2, 6)),
            **tokens,
        )
        return replace(unscaled, scales=unscaled._measure_scales(encoder))

    def _measure_scales(self, encoder: WordEncoder | None) -> np.ndarray:
        texts, word = number_words(self.words.to_pylist())
        own = self.senses(self.projected), self.uses(self.projected)
        told = _encode(texts, encoder), word, find_spelling(texts)
        of_peaks = measure_scales(*own, *told, self.window)
        return np.stack([of_peaks, measure_scale(self.topics(self.projected))])

    @classmethod
    def read(cls, store: Store, path: str) -> Background:
        return cls(**read_arrays(store, path))

    def write(self, store: Writes, path: str) -> None:
        write_arrays(store, path, vars(self))

    @property
    def words(self) -> pa.Array:
        """(R,) the whole word that each token stands in, in its own case."""
        return unpack_texts(self.word_bytes, self.word_offsets)

    @property
    def sides(self) -> tuple[pa.Array, pa.Array]:
        """(R,) each: what stands before the word, and behind it."""
        return (
            unpack_texts(self.before_bytes, self.before_offsets),
            unpack_texts(self.after_bytes, self.after_offsets),
        )

    def project(self, residual: np.ndarray, around: np.ndarray) -> np.ndarray:
        """Residual vectors, (n, K * D) of K reference layers, and the means around them, (n, D), to
        projected ones.
        """
        return self._project(*_split(residual, residual.shape[1] // len(self.mean)), around)

    def project_windows(self, residual: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """All residual vectors of windows of the given lengths to projected ones."""
        summed, last = _split(residual, residual.shape[1] // len(self.mean))
        return self._project(summed, last, around(summed, lengths))

    def _project(self, summed: np.ndarray, last: np.ndarray, around: np.ndarray) -> np.ndarray:
        uses, topics = Axes(self.fine_mean, self.fine_axes), Axes(self.topic_mean, self.topic_axes)
        return _project(summed, last, around, self._senses, uses, topics)

    def senses(self, projected: np.ndarray) -> np.ndarray:
        """The part that tells senses apart, (n, P) float32 of unit length."""
        return _sense_part(projected, self._senses)

    def topics(self, projected: np.ndarray) -> np.ndarray:
        """The part that tells apart what stands around, (n, T) float32 of unit length."""
        first = self.axes.shape[1] + self.fine_axes.shape[1]
        return to_unit(projected[:, first:].astype(np.float32))

    def uses(self, projected: np.ndarray) -> np.ndarray:
        """The part that tells uses of one word apart, (n, Q) float32, random tokens of root mean
        square length 1.
        """
        part = slice(self.axes.shape[1], self.axes.shape[1] + self.fine_axes.shape[1])
        own, random = (v[:, part].astype(np.float32) for v in (projected, self.projected))
        length = np.sqrt(np.square(random, dtype=np.float64).sum(1).mean())
        return own / np.float32(max(length, 1e-12))

    @property
    def _senses(self) -> Axes:
        return Axes(self.mean, self.axes)


def _split(residual: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The sums over the reference layers, and the last of them alone, (n, D) float32 each."""
    split = residual.astype(np.float32).reshape(len(residual), parts, -1)
    return split.sum(1), split[:, -1]


def add_parts(residual: np.ndarray, parts: int) -> np.ndarray:
    """The sums over the reference layers, (n, D) float32."""
    return _split(residual, parts)[0]


def _project(
    summed: np.ndarray, last: np.ndarray, around: np.ndarray, senses: Axes, uses: Axes, topics: Axes
) -> np.ndarray:
    every = to_unit(senses.project(summed)), uses.project(last), topics.project(around)
    return to_half(np.concatenate(every, axis=1))


def _sense_part(projected: np.ndarray, senses: Axes) -> np.ndarray:
    # Half precision has moved the lengths a little away from 1.
    return to_unit(projected[:, : senses.axes.shape[1]].astype(np.float32))


@dataclass(frozen=True, eq=False)
class Peaks:
    """The different places at which a layer's contexts peak, by window and position. U of them."""

    window: np.ndarray  # (U,) int64
    position: np.ndarray  # (U,) int64
    place: np.ndarray  # (C,) which of them each context has
    token: np.ndarray  # (U,) int32
    word: pa.Array  # (U,) the whole word that the token stands in, in its own case
    before: pa.Array  # (U,) what stands before the word
    after: pa.Array  # (U,) and behind it
    near: np.ndarray  # (U, 2 * NEAR + 1) int32, the token in the middle; -1 outside of its window


def find_peaks(table: ContextTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Window and position of each different peak, (U,) int64, by these; and which of them each
    context has, (C,).
    """
    keys, place = np.unique(
        table.window.astype(np.int64) << 32 | table.position, return_inverse=True
    )
    return keys >> 32, keys & 0xFFFF_FFFF, place


@dataclass(frozen=True, eq=False)
class LayerSenses:
    """Of the units of one layer, by tail."""

    same_at: float
    tails: Mapping[Tail, TailSenses]

    def of_contexts(self, contexts: int) -> np.ndarray:
        """The sense of each of the layer's contexts, (contexts,) int32; negative when it is in
        none.
        """
        sense = np.full(contexts, -1, np.int32)
        for found in self.tails.values():
            sense[found.evidence.context] = found.sense
        return sense


def group_contexts(
    table: ContextTable,
    units: int,
    peaks: Peaks,
    material: Material,
    background: Background,
    fires: Mapping[Tail, np.ndarray],
    options: Senses,
    should_stop: Stop = never,
) -> LayerSenses:
    """units: N, real ones and behind them control units; fires: (R, N) bool of each tail that was
    asked for.

    Raises Cancelled.
    """
    tails: dict[Tail, TailSenses] = {}
    for tail, fired in fires.items():
        evidence = _evidence(table, tail, peaks.place, units)
        known = _held_out(evidence, peaks, background, fired)
        senses = find_senses(evidence, material, known, options, should_stop)
        near = peaks.near[evidence.place]
        tails[tail] = _with_tokens(senses, near, background.counts)
    return LayerSenses(options.same_at, tails)


def _evidence(table: ContextTable, tail: Tail, place: np.ndarray, neurons: int) -> Evidence:
    activation = table.activation.astype(np.float64) * (1 if tail == "positive" else -1)
    use = np.flatnonzero((table.tail == tail) & (activation > 0))
    return Evidence(
        offsets=np.searchsorted(table.neuron[use], np.arange(neurons + 1)).astype(np.int64),
        context=use,
        place=place[use],
        mass=activation[use],
        token=table.peak_token[use],
        shown=table.shown[use],
    )


def _held_out(
    evidence: Evidence, peaks: Peaks, background: Background, fires: np.ndarray
) -> np.ndarray:
    """(R, N) int8 as `find_senses` takes it: random tokens in windows that gave a neuron a context
    are left out.
    """
    known = fires.astype(np.int8)
    order = np.argsort(background.window, kind="stable")
    ordered = background.window[order]
    window = peaks.window[evidence.place]
    low, high = np.searchsorted(ordered, window, "left"), np.searchsorted(ordered, window, "right")
    size = high - low
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    known[order[np.repeat(low, size) + within], np.repeat(evidence.neuron, size)] = -1
    return known


def _with_tokens(found: TailSenses, near: np.ndarray, counts: np.ndarray) -> TailSenses:
    tokens = find_sense_tokens(found.owner, near, len(found.table.sense), counts)
    return replace(found, tokens=tokens)


def layer_material(
    options: Senses,
    background: Background,
    peaks: Peaks,
    projected: np.ndarray,
    encoder: WordEncoder | None,
) -> Material:
    """What the request's kind of vectors compares.

    projected: at the peaks, (U, P + Q + T), see `Background`; encoder: None where the job has none.
    """
    if options.vectors == "window":
        return _topics(background, projected)
    texts, word = number_words(peaks.word.to_pylist())
    return Material(
        kind=kind_of_pairs(options, has_words=encoder is not None),
        vectors=background.senses(projected),
        uses=background.uses(projected),
        encoded=_encode(texts, encoder),
        word=word,
        spelling=find_spelling(texts),
        random=background.senses(background.projected),
        scales=background.scales[0],
    )


def _encode(words: list[str], encoder: WordEncoder | None) -> np.ndarray:
    """(M, E) float32; without an encoder E is 0."""
    return np.zeros((len(words), 0), np.float32) if encoder is None else encoder.encode(words)


def _topics(background: Background, projected: np.ndarray) -> Material:
    """What stands around the peaks, whatever they are themselves: every pair is one of no words."""
    return Material(
        kind=TOPICS,
        vectors=background.topics(projected),
        uses=np.zeros((len(projected), 1), np.float32),
        encoded=np.zeros((0, 0), np.float32),
        word=np.full(len(projected), NO_WORD, np.int32),
        spelling=np.zeros(0, np.int8),
        random=background.topics(background.projected),
        scales=background.scales[1],
    )
