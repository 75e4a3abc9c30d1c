"""Sites of units that a job brings: read from the store, and made for its model."""

from __future__ import annotations

import torch

from polyseme.contract.board.board import Board
from polyseme.contract.errors import AnalysisError, DamagedFile
from polyseme.contract.files.store import Store
from polyseme.contract.files.vector_sets import read_numbers
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.own_vectors import Projection, check_fits, make_site
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES


def find_vectors_site(
    board: Board, store: Store, name: str, tenant: str, model: LoadedModel
) -> Site:
    """Of a tenant's set of directions. Raises AnalysisError where it is not there any more, is not
    what was uploaded, or does not fit the model.
    """
    if (vectors := board.registry.get_vectors(name, tenant)) is None:
        raise AnalysisError(f"the vectors {name!r} were deleted")
    try:
        numbers = read_numbers(store, vectors, tenant)
    except FileNotFoundError as e:
        raise AnalysisError(f"the file of the vectors {name!r} is not in the store") from e
    except DamagedFile as e:
        # Nothing can make it again, so it is no file that a unit is run anew for.
        raise AnalysisError(f"the vectors {name!r} are damaged: {e.message}") from e
    rows = _numbers(numbers.vectors).reshape(vectors.count, vectors.width)
    bias = None if numbers.bias is None else _numbers(numbers.bias)
    of, projection = SITES[vectors.site], Projection(rows, bias)
    check_fits(of, projection, model.parts)
    return make_site(of, projection, vectors.units_sha256)


def _numbers(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.float32)
