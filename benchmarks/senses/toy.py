"""Toy superposition: a small network that stores more features than it has neurons, so that its
neurons share them.

What it measures: whether the number of senses follows the number of features that a neuron's
weights read, where that number is known without a corpus or labels. Contexts are inputs in which
few features are on, each input a word of its own, and a context's vector is the sum of a random
direction for each feature; so features are far apart, and a context may hold several. It says
nothing of how near senses in language are told apart. Source of the network: Elhage et al. 2022,
with ReLU neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.senses.judging import judge
from benchmarks.senses.material import compare_places, fit_background
from benchmarks.senses.metrics import rank_correlation
from benchmarks.senses.units import NO_CONCEPT, Unit
from polyseme.workers.analysis.senses.layer_senses import Background
from polyseme.workers.analysis.senses.material import Material
from polyseme.workers.analysis.senses.pairs import VECTORS

FEATURES, NEURONS, WIDTH = 24, 12, 64
CONTEXTS = 120  # of a neuron
ON = 0.1  # chance of a feature
# of each feature in the loss, times that of the one before it, so that some get a neuron alone
IMPORTANCE = 0.82
_STEPS, _BATCH, _INPUTS, _RANDOM = 1_500, 256, 20_000, 2_300


@dataclass(frozen=True)
class Toy:
    """Means over the seeds."""

    neurons: int  # in all, of those that read any feature
    correlation: float  # Spearman, of effective senses with the participation ratio
    error: float  # mean distance between the two
    median_ratio: float  # the participation ratio of the middle neuron
    told: float  # share with a score


def train(seed: int) -> np.ndarray:
    """Weights of the trained network's neurons over the features, (NEURONS, FEATURES)."""
    generator = torch.Generator().manual_seed(seed)
    read = (torch.randn(NEURONS, FEATURES, generator=generator) * 0.2).requires_grad_()
    bias, importance = (
        torch.zeros(FEATURES, requires_grad=True),
        IMPORTANCE ** torch.arange(FEATURES),
    )
    optimiser = torch.optim.Adam([read, bias], lr=1e-2)
    for _ in range(_STEPS):
        x = _inputs(generator, _BATCH)
        made = torch.relu(torch.relu(x @ read.T) @ read + bias)
        loss = (importance * (made - x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return read.detach().numpy()


def _inputs(generator: torch.Generator, rows: int) -> torch.Tensor:
    """(rows, FEATURES), each feature 0 or, with chance ON, between 0 and 1."""
    return torch.rand(rows, FEATURES, generator=generator) * (
        torch.rand(rows, FEATURES, generator=generator) < ON
    )


def participation(weights: np.ndarray) -> np.ndarray:
    """How many features each neuron reads with positive weight, (N,): (sum w²)² / sum w⁴; 1 for
    one, F for F equal.
    """
    square = weights.clip(0) ** 2
    return np.asarray(square.sum(1) ** 2 / np.maximum((square**2).sum(1), 1e-30))


def measure(seeds: Sequence[int]) -> Toy:
    found = [_measure(seed) for seed in seeds]
    truth, effective = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    told = ~np.isnan(effective)
    by_seed = [rank_correlation(t[~np.isnan(e)], e[~np.isnan(e)]) for t, e in found]
    error = float(np.abs(truth - effective)[told].mean())
    return Toy(
        len(truth), float(np.mean(by_seed)), error, float(np.median(truth)), float(told.mean())
    )


def _measure(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Participation ratio and effective senses of each neuron that fires on enough inputs."""
    weights, rng = train(seed), np.random.default_rng(seed)
    x = _inputs(torch.Generator().manual_seed(1_000 + seed), _INPUTS).numpy()
    x = x[x.any(1)]
    activations = np.maximum(x @ weights.T, 0)
    directions = rng.normal(size=(FEATURES, WIDTH)) / np.sqrt(WIDTH)
    vectors = x @ directions + rng.normal(0, 0.02, (len(x), WIDTH))
    used = np.flatnonzero((activations > 0).sum(0) >= CONTEXTS)
    units = [_unit(seed, int(j), activations[:, j]) for j in used]
    places = np.concatenate([u.places for u in units])
    material = _material(_background(vectors[:_RANDOM]), vectors[places], places)
    verdicts = judge(units, material, places)
    return participation(weights[used]), np.array([v.scores["effective_senses"] for v in verdicts])


def _unit(seed: int, neuron: int, activation: np.ndarray) -> Unit:
    """Half of the contexts the strongest inputs, half drawn from all on which the neuron fires, as
    a job does it.
    """
    order = np.argsort(-activation, kind="stable")
    firing = order[: int((activation > 0).sum())]
    rest = np.random.default_rng((seed, neuron)).permutation(firing[CONTEXTS // 2 :])
    places = np.concatenate([firing[: CONTEXTS // 2], rest[: CONTEXTS // 2]])
    return Unit(
        "T8", "toy", seed, str(neuron), places, np.full(len(places), NO_CONCEPT), activation[places]
    )


def _background(vectors: np.ndarray) -> Background:
    wide, places = vectors.astype(np.float32), np.arange(len(vectors))
    ids = places[:, None].astype(np.int32)
    words = _words(places)
    return fit_background(wide, wide, 1, ids, places, np.zeros_like(places), words, None)


def _material(background: Background, vectors: np.ndarray, places: np.ndarray) -> Material:
    projected = background.project(vectors, vectors)
    near = places[:, None].astype(np.int32)
    return compare_places(background, projected, _words(places), places, near, VECTORS, None)


def _words(places: np.ndarray) -> list[str]:
    """A word of its own for each input."""
    return [f"input {place}" for place in places.tolist()]
