"""Where the records of a bundle are from, and the parts of their JSON that say so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.files.vector_sets import VectorFile
from polyseme.contract.records.job import Job
from polyseme.contract.records.vector_set import VectorSet
from polyseme.service.json_text import timestamp
from polyseme.service.results.result import Results

Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What every record of a bundle says of where it is from."""

    job: str
    model: str  # modelId
    creator: str  # creatorId: a user's id in the database that imports
    created_at: float
    corpus: str
    window: int  # tokens
    layers: int  # of the result
    neurons: int  # a layer
    site: str
    vectors: str | None = None  # what uploaded directions, its units, are called

    @property
    def source_set(self) -> str:
        """Of sources: one whose name is a whole number belongs to `neurons`."""
        if self.vectors is not None:
            return f"{self.site}-{self.vectors}"
        return _SETS.get(self.site, self.site.replace("_", "-"))

    def source(self, layer: int) -> str:
        """The id of a layer's."""
        return str(layer) if self.site == "mlp" else f"{layer}-{self.source_set}"


_SETS = {"mlp": "neurons", "z": "att-z"}


def read_origin(
    results: Results,
    job: Job,
    model: str | None,
    creator: str | None,
    vectors: VectorSet | None = None,
) -> Origin:
    """model, creator: as the importing Neuronpedia calls them; None for this service's names.

    vectors: the job's; None where it has none, and where they were deleted.
    """
    scalars = results.scalars(job.id).table
    layers = len(pc.unique(scalars["layer"]))
    return Origin(
        job=job.id,
        model=model or job.request.model,
        creator=creator or "polyseme",
        created_at=job.finished_at or job.created_at,
        corpus=job.analysis.corpus,
        window=job.analysis.contexts.window,
        layers=layers,
        neurons=len(scalars) // layers,
        site=job.analysis.neurons.site,
        vectors=(vectors and vectors.name) or job.analysis.neurons.vectors,
    )


class Texts:
    """JSON of what comes again and again in one layer."""

    def __init__(
        self,
        origin: Origin,
        layer: int,
        tokens: pa.Array,
        spoken: pa.Array,
        directions: VectorFile | None = None,
    ) -> None:
        self.directions = directions  # of the units, where they are uploaded ones
        self.labels = directions.labels if directions else None
        self.tokens = tokens  # of the vocabulary
        self.spoken = spoken  # what they read as, no JSON; "" for special ones
        source = origin.source(layer)
        self.job = f"{origin.job}-{source}"
        self.owner = f'"modelId":{json.dumps(origin.model)},"layer":{json.dumps(source)},"index":'
        self.source = f'"dataSource":{json.dumps(origin.corpus)}'
        creator, moment = json.dumps(origin.creator), timestamp(origin.created_at)
        self.stamp = f'"creatorId":{creator},"createdAt":"{moment}"'
        # An explanation has an author in place of a creator.
        self.author = f'"authorId":{creator},"createdAt":"{moment}"'
