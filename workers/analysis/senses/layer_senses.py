"""Senses of one layer: from its contexts and the vectors at their peaks to what the result says of
them.

Between `find_senses`, which knows arrays only, and the steps, which know where files are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyseme.contract.errors import AnalysisError
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Senses, Tail
from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.corpus.words import peak_words
from polyseme.workers.analysis.files.arrays import read_arrays, write_arrays
from polyseme.workers.analysis.machine.stopping import Stop, never
from polyseme.workers.analysis.models.encoder import WordEncoder
from polyseme.workers.analysis.senses.background import (
    FINE_RANK,
    RANK,
    TOPIC_RANK,
    Axes,
    Scale,
    to_unit,
)
from polyseme.workers.analysis.senses.background import NEAR as REACH
from polyseme.workers.analysis.senses.find_senses import find_senses
from polyseme.workers.analysis.senses.records import Evidence, TailSenses
from polyseme.workers.analysis.senses.sense_tokens import NEAR, find_sense_tokens
from polyseme.workers.analysis.senses.spaces import TOPIC_RAISED, Space, add_words, neuron_space
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
    near: (
        np.ndarray
    )  # (R, W) int32 tokens around each, itself in the middle; -1 outside of the window
    counts: np.ndarray  # (V,) int64, over the corpus' counted tokens
    special: np.ndarray  # ids that stand for no text
    projected: np.ndarray  # (R, P + Q + T) float16
    mean: np.ndarray  # of the residual vectors' sums, see `background.Axes`
    axes: np.ndarray
    fine_mean: np.ndarray  # of the last reference layer alone
    fine_axes: np.ndarray
    topic_mean: np.ndarray  # of the means around tokens
    topic_axes: np.ndarray
    distances: np.ndarray  # see `background.Scale`
    centre: np.ndarray  # one number
    spread: np.ndarray  # one number

    @classmethod
    def fit(
        cls, residual: np.ndarray, around: np.ndarray, parts: int, **tokens: np.ndarray
    ) -> Background:
        """residual: (R, parts * D); around: (R, D), the means of `add_parts` around the tokens."""
        summed, last = _split(residual, parts)
        senses, uses = Axes.of(summed, RANK), Axes.of(last, FINE_RANK)
        topics = Axes.of(around, TOPIC_RANK, power=0.0)
        projected = _project(summed, last, around, senses, uses, topics)
        scale = Scale.of(_sense_part(projected, senses))
        return cls(
            projected=projected,
            mean=senses.mean,
            axes=senses.axes,
            fine_mean=uses.mean,
            fine_axes=uses.axes,
            topic_mean=topics.mean,
            topic_axes=topics.axes,
            distances=scale.distances,
            centre=np.array(scale.centre),
            spread=np.array(scale.spread),
            **tokens,
        )

    @classmethod
    def read(cls, store: Store, path: str) -> Background:
        return cls(**read_arrays(store, path))

    def write(self, store: Store, path: str) -> None:
        write_arrays(store, path, vars(self))

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

    def space(self, projected: np.ndarray) -> Space:
        """Of projected vectors, (U, P + Q + T)."""
        scale = Scale(self.distances, self.centre.item(), self.spread.item())
        senses, random = (_sense_part(v, self._senses) for v in (projected, self.projected))
        return Space(senses, random, (scale,), self.uses(projected))

    def topic_space(self, projected: np.ndarray) -> Space:
        """Of projected vectors: what stands around the tokens, whatever they are themselves."""
        first = self.axes.shape[1] + self.fine_axes.shape[1]
        own, random = (
            to_unit(v[:, first:].astype(np.float32)) for v in (projected, self.projected)
        )
        return Space(own, random, (Scale.of(random),), raised=TOPIC_RAISED, of_words=False)

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

    @classmethod
    def of(cls, table: ContextTable) -> Peaks:
        keys, place = np.unique(
            table.window.astype(np.int64) << 32 | table.position, return_inverse=True
        )
        return cls(keys >> 32, keys & 0xFFFF_FFFF, place)


@dataclass(frozen=True, eq=False)
class LayerSenses:
    """Of the selected neurons of one layer, by tail."""

    alpha: float
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
    neurons: np.ndarray,
    layer: int,
    peaks: Peaks,
    space: Space,
    background: Background,
    fires: Mapping[Tail, np.ndarray],
    options: Senses,
    should_stop: Stop = never,
) -> LayerSenses:
    """neurons: (N,) selected ones; fires: (R, N) bool of each tail that was asked for.

    Raises Cancelled.
    """
    near = near_peaks(table, NEAR)
    tails: dict[Tail, TailSenses] = {}
    for tail, fired in fires.items():
        evidence = _evidence(table, tail, peaks.place, len(neurons))
        known = _held_out(evidence, peaks, background, fired)
        senses = find_senses(
            evidence, space, known, options, _seeds(layer, neurons, tail), should_stop
        )
        tails[tail] = _with_tokens(senses, near, background.counts)
    return LayerSenses(options.alpha, tails)


def near_peaks(table: ContextTable, reach: int) -> np.ndarray:
    """The shown tokens around each peak, (C, 2 * reach + 1) int32; -1 where none is shown."""
    first, end = table.display_offsets[:-1, None], table.display_offsets[1:, None]
    peak = first[:, 0] + table.position - table.display_start
    at = peak[:, None] + np.arange(-reach, reach + 1)
    tokens: np.ndarray = table.tokens[at.clip(0, max(len(table.tokens) - 1, 0))]
    return np.where((at >= first) & (at < end), tokens, -1)


def _evidence(table: ContextTable, tail: Tail, place: np.ndarray, neurons: int) -> Evidence:
    activation = table.activation.astype(np.float64) * (1 if tail == "positive" else -1)
    use = np.flatnonzero((table.tail == tail) & (activation > 0))
    return Evidence(
        offsets=np.searchsorted(table.neuron[use], np.arange(neurons + 1)).astype(np.int64),
        context=use,
        place=place[use],
        mass=activation[use],
        token=table.peak_token[use],
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


def _seeds(layer: int, neurons: np.ndarray, tail: Tail) -> np.ndarray:
    return (
        np.uint64(layer) << np.uint64(40)
        | neurons.astype(np.uint64) << np.uint64(1)
        | np.uint64(tail == "negative")
    )


def _with_tokens(found: TailSenses, near: np.ndarray, counts: np.ndarray) -> TailSenses:
    tokens = find_sense_tokens(
        found.owner, near[found.evidence.context], len(found.table.sense), counts
    )
    return replace(found, tokens=tokens)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where a layer's spaces come from, asked only for what a space needs."""

    projected: np.ndarray  # at the peaks, (U, P + Q + T), see `Background`
    vocabulary: Callable[[], Sequence[str]]
    encoder: Callable[[], WordEncoder]
    # The MLP's inputs at the peaks, (U, D), and at the random tokens, (R, D), and the selected
    # neurons' `input_energy`, (N, D). None where they were not kept.
    inputs: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None


def layer_space(
    options: Senses, background: Background, table: ContextTable, peaks: Peaks, sources: Sources
) -> Space:
    """The space that the request asks for.

    Raises AnalysisError for `neuron` vectors without the MLP's inputs.
    """
    if options.vectors == "neuron":
        if sources.inputs is None:
            raise AnalysisError(
                "`neuron` vectors need the model's weights and its inputs: submit a new job"
            )
        return neuron_space(*sources.inputs(), background.uses(sources.projected))
    if options.vectors == "window":
        return background.topic_space(sources.projected)
    residual = background.space(sources.projected)
    if options.vectors == "residual":
        return residual
    vocabulary, encoder = sources.vocabulary(), sources.encoder()
    shown = near_peaks(table, REACH)[np.unique(peaks.place, return_index=True)[1]]
    words, random = (
        _encode(near, background, vocabulary, encoder) for near in (shown, background.near)
    )
    return add_words(residual, words, random)


def _encode(
    near: np.ndarray, background: Background, vocabulary: Sequence[str], encoder: WordEncoder
) -> np.ndarray:
    """The encoder's vector of the word in the middle of each row of tokens, (n, E)."""
    middle = np.full(len(near), near.shape[1] // 2)
    return encoder.encode(peak_words(near, middle, vocabulary, background.special.tolist()))
