"""What is known of a sparse dictionary in the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from polyseme.contract.names import DEFAULT_QUEUE


@dataclass(frozen=True)
class DictionaryCard:
    """What a worker found out about a dictionary by reading its files.

    With an error, what its files say is empty, 0 or None.
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
    prepend_bos: bool | None = None  # whether texts began with that token in training
    context_size: int | None = None  # tokens of a window in training
    # With what its writer loaded the model in TransformerLens, such as center_writing_weights
    loaded_with: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""  # hub:org/name/folder@revision, or path: with the last part of where it lies
    fingerprint: str = ""  # of the catalogue's entry that it was read for
    queue: str = DEFAULT_QUEUE  # that of its model
    error: str | None = None  # why it cannot be read, when it cannot

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> DictionaryCard:
        return cls(**json.loads(text))
