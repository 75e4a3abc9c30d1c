"""Where the records of a bundle are from, and the parts of their JSON that say so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from polyseme.contract.files.vector_sets import VectorFile
from polyseme.contract.records.dictionary_card import DictionaryCard
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
    # Of latents: by layer the id of the dictionary, and the set that it is of; else none.
    dictionaries: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def source_set(self, layer: int) -> str:
        """Of sources: one whose name is a whole number belongs to `neurons`."""
        if layer in self.dictionaries:
            return self.dictionaries[layer][1]
        if self.vectors is not None:
            return f"{self.site}-{self.vectors}"
        return _SETS.get(self.site, self.site.replace("_", "-"))

    def source(self, layer: int) -> str:
        """The id of a layer's."""
        return str(layer) if self.site == "mlp" else f"{layer}-{self.source_set(layer)}"

    def units(self, layer: int) -> str:
        """What is analysed, for people."""
        if layer in self.dictionaries:
            return f"Latents of the dictionary {self.dictionaries[layer][0]}"
        return "MLP neurons" if self.site == "mlp" else f"Units of {self.site}"


_SETS = {"mlp": "neurons", "z": "att-z"}
_OWN_SOURCE = re.compile(r"[^/]+/(\d+)-([A-Za-z0-9_.-]+)")


def find_set(card: DictionaryCard | None, dictionary: str, layer: int) -> str:
    """What Neuronpedia calls the set of a dictionary where its files say so, else the dictionary's
    id. card: None where there is none any more.
    """
    known = _OWN_SOURCE.fullmatch((card.neuronpedia if card else None) or "")
    return known[2] if known and int(known[1]) == layer else dictionary


def read_origin(
    results: Results,
    job: Job,
    model: str | None,
    creator: str | None,
    cards: Mapping[str, DictionaryCard],
    vectors: VectorSet | None = None,
) -> Origin:
    """model, creator: as the importing Neuronpedia calls them; None for this service's names.

    cards: of dictionaries that there are, by id; vectors: the job's; None where it has none, and
    where they were deleted.
    """
    scalars = results.scalars(job.id).table
    layers, asked = len(results.layers(job.id)), job.analysis.neurons
    return Origin(
        job=job.id,
        model=model or job.request.model,
        creator=creator or "polyseme",
        created_at=job.finished_at or job.created_at,
        corpus=job.analysis.corpus,
        window=job.analysis.contexts.window,
        layers=layers,
        neurons=len(scalars) // layers,
        site=asked.site,
        vectors=(vectors and vectors.name) or asked.vectors,
        dictionaries={
            layer: (name, find_set(cards.get(name), name, layer))
            for layer, name in results.dictionaries(job).items()
        },
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
