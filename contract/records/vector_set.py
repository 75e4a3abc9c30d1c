"""Uploaded directions: probes, steering vectors, differences of means, as one tenant's set of them.

Each is of what stands at one site of one layer of one model, and becomes a unit of a job.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

SITE = "vectors"  # of jobs whose units they are
VECTORS_ID = re.compile(r"vec_[0-9a-f]{24}")

MOST_ROWS = 4096
WIDEST = 16384
LONGEST_LABEL = 100  # characters


@dataclass(frozen=True)
class VectorSet:
    """Its numbers lie in the store at `Layout.vectors(id, tenant)`."""

    id: str  # from all that was sent, so of equal sets there is one
    name: str | None
    model: str
    site: str  # of the model's own: what the directions are of
    layer: int
    count: int  # of directions, the units
    width: int  # of each: the site's units
    has_bias: bool
    normalized: bool  # divided by their lengths when they came
    labels: bool  # whether each has one, in the file
    sha256: str  # of the file
    # Of what decides activations: site, layer and numbers, and no name.
    units_sha256: str
    size: int  # bytes in the store
    created_at: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> VectorSet:
        return cls(**json.loads(text))
