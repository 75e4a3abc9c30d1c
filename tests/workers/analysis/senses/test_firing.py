from __future__ import annotations

import numpy as np
import pytest
import torch

from polyseme.workers.analysis.senses import firing
from polyseme.workers.analysis.senses.background import RANDOM_TOKENS
from polyseme.workers.analysis.senses.firing import (
    FIRES,
    FiringSample,
    firing_threshold,
    unpack_firings,
)
from tests.workers.analysis.builders import kernels_named


def test_a_neuron_fires_above_a_share_of_its_largest_calibration_peak() -> None:
    peaks = np.array([[1.0, -1.0, 0.0], [10.0, -2.0, 0.0]], np.float32)

    assert firing_threshold(peaks).tolist() == [np.float32(FIRES * 10), np.inf, np.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernels", ["reference", "cpu"])
def test_firings_of_both_tails_are_collected_over_blocks_and_shards(
    kernels: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "choose_kernels", lambda device: kernels_named(kernels))
    rng = np.random.default_rng(0)
    blocks = [torch.from_numpy(rng.normal(size=(2, 6, 11))).to(dtype) for _ in range(3)]
    index = [torch.tensor([0, 7]), torch.tensor([], dtype=torch.int64), torch.tensor([11])]
    thresholds = {tail: rng.random(11).astype(np.float32) for tail in ("positive", "negative")}

    parts = []
    for shard in (slice(0, 2), slice(2, 3)):
        sample = FiringSample(thresholds, "cpu")
        for i, block in zip(index[shard], blocks[shard], strict=True):
            sample.update(i, block)
        parts.append(sample.arrays())

    chosen = np.concatenate(
        [b.flatten(0, 1)[i].float().numpy() for i, b in zip(index, blocks, strict=True)]
    )
    for tail, sign in (("positive", 1), ("negative", -1)):
        found = unpack_firings(np.concatenate([part[f"fires/{tail}"] for part in parts]), 11)
        assert np.array_equal(found, sign * chosen > thresholds[tail])


def test_more_random_tokens_than_expected_are_kept_too() -> None:
    activations = torch.linspace(-1, 1, 100 * 3).view(1, 100, 3)
    sample = FiringSample({"positive": np.zeros(3, np.float32)}, "cpu")

    for _ in range(RANDOM_TOKENS // 50):
        sample.update(torch.arange(100), activations)

    found = unpack_firings(sample.arrays()["fires/positive"], 3)
    expected = np.tile(activations[0].numpy() > 0, (RANDOM_TOKENS // 50, 1))
    assert len(found) > 1.25 * RANDOM_TOKENS
    assert np.array_equal(found, expected)
