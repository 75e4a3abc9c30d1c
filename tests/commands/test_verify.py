"""What `polyseme verify --repair` refuses before it has any job run."""

from __future__ import annotations

import pytest

from polyseme.commands.verify import RepairRefused, Results
from polyseme.contract.board.board import Board
from polyseme.contract.files.results import NEURONS
from polyseme.contract.files.store import Layout, Store
from tests.factories import add_corpus, add_vectors, make_manifest, open_job, run_job, write_result


@pytest.mark.parametrize(
    ("is_there", "why"),
    [(True, "no worker serves the queue"), (False, "its vectors 'vec_.*' were deleted")],
)
def test_a_result_is_not_made_again_without_its_vectors(
    board: Board, store: Store, is_there: bool, why: str
) -> None:
    corpus, vectors = add_corpus(board, store), add_vectors(board, store)
    neurons = {"site": "vectors", "vectors": vectors.id, "layers": [2]}
    job = open_job(board, neurons=neurons)
    manifest = make_manifest((2,))
    manifest["corpus"] = manifest["corpus"] | {"sha256": corpus.sha256}
    write_result(store, job.id, layers=(2,), manifest=manifest)
    done = run_job(board, job.id)
    store.write(f"{Layout.result(job.id)}/{NEURONS}", b"damaged")
    results = Results(board, store)
    damage = results.find_damage(done)
    assert list(damage) == [NEURONS]
    if not is_there:
        board.registry.delete_vectors(vectors.id)

    with pytest.raises(RepairRefused, match=why):
        results.repair(done, damage)
