"""What is known of a sparse dictionary in the catalogue."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class DictionaryCard:
    """What a worker found out about a dictionary by reading its files.

    With an error, all but id and model are empty, 0 or None.
    """

    id: str
    model: str  # the id of its model in the catalogue
    hook: str = ""  # where it reads, in TransformerLens' words: "blocks.3.hook_resid_post"
    site: str = ""  # the same, as requests spell it
    layer: int = 0
    architecture: str = ""  # standard, gated, topk, groupmax or jumprelu
    latents: int = 0
    width: int = 0  # numbers of an activation that it encodes
    format: str = ""  # as the catalogue spells it, without "auto"
    sha256: str = ""  # over the names and contents of the files that were read
    neuronpedia: str | None = None  # its id there, where its files say so
    expected_l0: float | None = None  # mean active latents a token, where its files say so
    error: str | None = None  # why it cannot be read, when it cannot

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> DictionaryCard:
        return cls(**json.loads(text))
