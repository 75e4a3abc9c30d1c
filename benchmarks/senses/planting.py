"""Neurons made to fire for chosen families of words: rows for a gated MLP's gate and up
projections, fitted to data.

Knows a Llama model of transformers and word positions; nothing of how neurons are analysed.

A row w is the one of least response to the corpus (w' C w, C the covariance of MLP inputs) that
responds with a given value to the mean input of each family and of the corpus: the same for every
family, so that none drowns the others. The corpus' own mean takes the place of the bias that these
projections have not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.senses.brown import Document
from benchmarks.senses.families import Families
from benchmarks.senses.passages import family_names

RIDGE = 0.05  # added to the covariance's diagonal, of its mean
OPEN, SHUT = 4.0, -4.0  # what a gate answers to its families and to the corpus; SiLU(-4) is -0.07
UP, UP_ELSEWHERE = (
    1.0,
    0.5,
)  # likewise the up row: not 0, as two small negative answers would make a firing
BATCH = 8  # passages in one forward pass


@dataclass(frozen=True, eq=False)
class Inputs:
    """MLP inputs of some tokens. T of them."""

    vectors: dict[int, np.ndarray]  # by layer, (T, D) float16
    first: np.ndarray  # (T,) bool: the first token of its passage, whose input is like no other
    family: np.ndarray  # (T,) the number of the family whose word ends here; -1 where none does
    word: np.ndarray  # (T,) str: that word


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of a layer's inputs."""

    covariance: np.ndarray  # (D, D), with the ridge
    mean: np.ndarray  # (D,) of all tokens but the first ones
    first: np.ndarray  # (D,) mean of the first ones
    families: np.ndarray  # (F, D) mean of each family

    @classmethod
    def of(
        cls, vectors: np.ndarray, first: np.ndarray, family: np.ndarray, families: int
    ) -> Statistics:
        wide = vectors.astype(np.float32)
        rest = wide[~first]
        covariance = np.cov(rest, rowvar=False).astype(np.float64)
        covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        use = [np.flatnonzero((family == f) & ~first) for f in range(families)]
        means = np.stack(
            [wide[rows].mean(0) if len(rows) else np.full(wide.shape[1], np.nan) for rows in use]
        )
        return cls(covariance, rest.mean(0), wide[first].mean(0), means)


def fit_row(statistics: Statistics, families: Sequence[int], on: float, off: float) -> np.ndarray:
    """A row that answers `on` to the mean of each family and `off` to the corpus, (D,) float32."""
    points = np.vstack([statistics.families[list(families)], statistics.mean, statistics.first])
    answers = np.array([on] * len(families) + [off, off])
    solved = np.linalg.solve(statistics.covariance, points.T)  # (D, m + 2)
    row: np.ndarray = solved @ np.linalg.solve(points @ solved, answers)
    return row.astype(np.float32)


@torch.no_grad()
def plant(
    model: Any, layer: int, neurons: Sequence[int], gates: np.ndarray, ups: np.ndarray
) -> None:
    """Puts rows, (N, D), in the place of some neurons' own, and cuts those off from what
    follows.
    """
    mlp, index = model.model.layers[layer].mlp, list(neurons)
    mlp.gate_proj.weight[index] = torch.from_numpy(gates).to(mlp.gate_proj.weight)
    mlp.up_proj.weight[index] = torch.from_numpy(ups).to(mlp.up_proj.weight)
    mlp.down_proj.weight[:, index] = 0


def activate(vectors: np.ndarray, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """What a neuron with these rows does at the inputs (T, D): (T,)."""
    wide = vectors.astype(np.float32)
    opened = wide @ gate
    activation: np.ndarray = opened / (1 + np.exp(-opened)) * (wide @ up)
    return activation


def read_inputs(
    model: Any,
    tokenizer: Any,
    passages: Sequence[Document],
    families: Families,
    layers: Sequence[int],
) -> Inputs:
    """Runs the model over passages, each on its own, as far as the deepest layer."""
    found: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    marks = []
    for part in _by_length(tokenizer, passages):
        encoded = [
            tokenizer(p.text, return_offsets_mapping=True, truncation=True, max_length=128)
            for p in part
        ]
        lengths = [len(e.input_ids) for e in encoded]
        for layer, hidden in _mlp_inputs(model, [e.input_ids for e in encoded], layers).items():
            found[layer] += [
                hidden[i, :n].numpy().astype(np.float16) for i, n in enumerate(lengths)
            ]
        marks += [_mark(p, e.offset_mapping, families) for p, e in zip(part, encoded, strict=True)]
    first, family, word = (np.concatenate(column) for column in zip(*marks, strict=True))
    return Inputs(
        {layer: np.concatenate(parts) for layer, parts in found.items()}, first, family, word
    )


def _by_length(tokenizer: Any, passages: Sequence[Document]) -> Iterator[list[Document]]:
    ordered = sorted(passages, key=lambda p: len(p.text))
    yield from (ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH))


def _mark(
    passage: Document, offsets: Sequence[tuple[int, int]], families: Families
) -> tuple[np.ndarray, ...]:
    """Of each token: is it the first, the number of the family whose word it ends, and that
    word.
    """
    names, numbers = family_names(families), {name: i for i, name in enumerate(families)}
    ends = {w.end: w.form for w in passage.words if w.form in names}
    words = [ends.get(end, "") for _, end in offsets]
    family = [numbers[names[w]] if w else -1 for w in words]
    return np.arange(len(offsets)) == 0, np.array(family), np.array(words, dtype=object)


@torch.no_grad()
def _mlp_inputs(
    model: Any, ids: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, torch.Tensor]:
    """(B, S, D) of each layer."""
    found: dict[int, torch.Tensor] = {}
    body = model.model
    handles = [
        body.layers[layer].mlp.register_forward_pre_hook(
            lambda m, a, layer=layer: found.update({layer: a[0]})
        )
        for layer in layers
    ]
    whole, norm = body.layers, body.norm
    # On the right of the tokens padding changes nothing: no token looks ahead.
    padded = nn.utils.rnn.pad_sequence([torch.tensor(i) for i in ids], batch_first=True)
    try:
        body.layers = whole[: max(layers) + 1]
        body(padded, use_cache=False)
    finally:
        body.layers, body.norm = whole, norm
        for handle in handles:
            handle.remove()
    return found


def fit_neurons(
    inputs: Inputs, layer: int, wanted: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Gate and up rows of a layer's neurons, (N, D) each. wanted: the numbers of each neuron's
    families.
    """
    statistics = Statistics.of(
        inputs.vectors[layer], inputs.first, inputs.family, int(inputs.family.max()) + 1
    )
    gates = np.stack([fit_row(statistics, families, OPEN, SHUT) for families in wanted])
    ups = np.stack([fit_row(statistics, families, UP, UP_ELSEWHERE) for families in wanted])
    return gates, ups
