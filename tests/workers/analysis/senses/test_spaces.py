from __future__ import annotations

import numpy as np
import pytest

from polyseme.workers.analysis.senses.background import Scale, to_unit
from polyseme.workers.analysis.senses.records import Evidence
from polyseme.workers.analysis.senses.spaces import WORD_WEIGHT, Space, add_words, neuron_space


def evidence_of(contexts: int) -> Evidence:
    """One neuron with all contexts."""
    every = np.arange(contexts)
    return Evidence(
        np.array([0, contexts]), every, every, np.ones(contexts), every.astype(np.int32)
    )


def test_words_count_for_half_as_much_as_the_residual() -> None:
    rng = np.random.default_rng(0)
    random = to_unit(rng.normal(size=(50, 8)))
    space = Space(random[:5], random, (Scale.of(random),))
    words = rng.normal(size=(50, 4)).astype(np.float32)

    joined = add_words(space, words[:5], words)

    ratio = np.linalg.norm(joined.vectors[:, 8:], axis=1) / np.linalg.norm(
        joined.vectors[:, :8], axis=1
    )
    assert joined.vectors.shape == (5, 12)
    assert np.allclose(ratio, WORD_WEIGHT, atol=1e-5)
    assert np.allclose(np.linalg.norm(joined.vectors, axis=1), 1, atol=1e-5)


def test_a_neuron_sees_inputs_by_its_own_weights() -> None:
    rng = np.random.default_rng(1)
    inputs, random = rng.normal(size=(6, 5)), rng.normal(size=(300, 5))
    energy = rng.random((2, 5))
    space = neuron_space(inputs, random, energy, np.zeros((0, 0), np.float32))
    owner, neuron = np.zeros(6, np.int64), np.array([0])

    found = space.similarity(space.centres(evidence_of(6), owner, 1), neuron)

    mean = random.astype(np.float32).mean(0)
    seen = to_unit((inputs - mean) * np.sqrt(energy[0])).sum(0)
    expected = to_unit((random - mean) * np.sqrt(energy[0])) @ seen
    assert len(space.scales) == 2
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_distances_are_read_on_each_neurons_own_scale() -> None:
    near, far = (Scale(np.linspace(0, top, 561), top / 2, top / 4) for top in (1.0, 2.0))
    space = Space(np.zeros((1, 2)), np.zeros((1, 2)), (near, far), weights=np.ones((2, 2)))

    found = space.read(np.array([0.5, 0.5]), np.array([0, 1]))

    assert found[0] > found[1]
    assert space.of_neurons(lambda s: s.centre, slice(1, 2)).tolist() == [1.0]
