"""What else counts a neuron's senses: trivial answers, and ways from the literature at their own
settings.

scikit-learn is needed for the clusterings, so it is imported where it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

Grouping = Callable[
    [np.ndarray], np.ndarray
]  # unit vectors (n, P) to labels (n,), negative for none

SMALLEST = 4  # contexts of a group where a method asks for that


def always_one(vectors: np.ndarray) -> np.ndarray:
    return np.zeros(len(vectors), np.int64)


def one_a_context(vectors: np.ndarray) -> np.ndarray:
    return np.arange(len(vectors))


def by_token(tokens: np.ndarray) -> np.ndarray:
    """Contexts with the same peak token; groups under the smallest size count as none."""
    _, labels, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    kept = counts >= SMALLEST
    return np.where(kept, np.cumsum(kept) - 1, -1)[labels]


def k_means(groups: int) -> Grouping:
    """SemanticLens looks for two groups (Dreyer et al. 2025), PRISM for five (Kopf et al. 2025)."""

    def group(vectors: np.ndarray) -> np.ndarray:
        from sklearn.cluster import KMeans

        made = KMeans(min(groups, len(vectors)), n_init=3, random_state=0)
        return np.asarray(made.fit_predict(vectors), np.int64)

    return group


def hdbscan(vectors: np.ndarray) -> np.ndarray:
    """Campello et al. 2013; noise is in no group."""
    from sklearn.cluster import HDBSCAN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return np.asarray(
            HDBSCAN(min_cluster_size=SMALLEST).fit_predict(vectors.astype(np.float64)), np.int64
        )


def silhouette(vectors: np.ndarray, most: int = 10) -> np.ndarray:
    """Average linkage cut into the 2 to `most` groups with the best silhouette (Rousseeuw 1987).

    Never one group.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    distances = np.clip(1 - vectors @ vectors.T, 0, 2).astype(np.float64)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    cuts = [fcluster(tree, k, "maxclust") - 1 for k in range(2, most + 1)]
    usable = [cut for cut in cuts if 1 < len(set(cut.tolist())) < len(cut)]
    if not usable:
        return always_one(vectors)
    return np.asarray(
        max(usable, key=lambda cut: silhouette_score(distances, cut, metric="precomputed")),
        np.int64,
    )
