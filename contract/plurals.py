"""Numbers with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """ "1 neuron", "1,536 neurons"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
