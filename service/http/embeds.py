"""The origins of pages that may show a neuron in a frame."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"https?://([a-z0-9-]+\.)*[a-z0-9-]+(:[0-9]{1,5})?")


def parse_origins(text: str) -> tuple[str, ...]:
    """Of `https://a.example,http://127.0.0.1:80`.

    Raises ValueError naming what is no origin; there is no wildcard.
    """
    origins = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"embed_origins: {origin!r} is no origin such as https://example.org")
    return origins
