import numpy as np
import pytest

from benchmarks.senses import baselines, metrics

TRUTH = np.repeat(np.arange(3), [16, 14, 10])


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    made = np.eye(20)[TRUTH] + 0.05 * rng.normal(size=(40, 20))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_token_identity_groups_equal_tokens_and_drops_rare_ones():
    assert baselines.by_token(np.array([5, 5, 5, 5, 9, 7, 7, 7, 7])).tolist() == [
        0,
        0,
        0,
        0,
        -1,
        1,
        1,
        1,
        1,
    ]


def test_the_trivial_answers_are_one_group_and_all_alone(vectors):
    assert set(baselines.always_one(vectors).tolist()) == {0}
    assert len(set(baselines.one_a_context(vectors).tolist())) == 40


@pytest.mark.parametrize("way", [baselines.k_means(3), baselines.hdbscan, baselines.silhouette])
def test_each_clustering_finds_plain_groups(vectors, way):
    pytest.importorskip("sklearn")
    assert metrics.adjusted_rand(TRUTH, way(vectors)) == pytest.approx(1)
