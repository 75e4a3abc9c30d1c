import numpy as np
import pytest

from benchmarks.senses import toy


def test_participation_counts_equal_weights_and_leaves_out_negative_ones():
    weights = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [1, 1, -1, -1]])
    assert toy.participation(weights) == pytest.approx([1, 4, 2])
