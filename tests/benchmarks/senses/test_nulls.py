from __future__ import annotations

import numpy as np
import torch

from benchmarks.senses.nulls import report, shuffle_matrices
from benchmarks.senses.scans import Scores


def test_shuffling_moves_the_entries_of_a_matrix_and_leaves_vectors_alone() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.LayerNorm(5))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}

    shuffle_matrices(module, torch.Generator().manual_seed(0))

    after = dict(module.named_parameters())
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(
        after["0.weight"].flatten().sort().values, before["0.weight"].flatten().sort().values
    )
    assert all(torch.equal(after[n], before[n]) for n in before if n != "0.weight")


def test_the_same_seed_shuffles_alike() -> None:
    one, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    other.load_state_dict(one.state_dict())

    for module in (one, other):
        shuffle_matrices(module, torch.Generator().manual_seed(5))

    assert torch.equal(one.weight, other.weight)


def test_the_table_has_dead_neurons_in_its_denominators() -> None:
    status = np.array(["polysemantic", "incoherent", "insufficient_evidence", "incoherent"])
    coverage = np.array([0.9, 0.2, np.nan, 0.1])
    scores = Scores(
        np.array([4, 4, 4, 4]), status, np.full(4, np.nan), np.full(4, np.nan), coverage
    )

    row = report(scores).splitlines()[2]

    assert [cell.strip() for cell in row.split("|")[1:8]] == [
        "layer 4",
        "4",
        "0.000",
        "0.250",
        "0.500",
        "0.250",
        "0.000",
    ]
