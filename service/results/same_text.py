"""Whether two results read the same text, and what else of them is unlike: from their manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from polyseme.contract.errors import Detail, OtherText

Manifest = Mapping[str, Any]

# What the text of a result is, by where its manifest has it. `max_tokens` is not among them: what
# was read of the corpus is in the plan, whatever stopped it.
_TEXT: Final = {
    "/corpus/sha256": "corpus",
    "/model/tokenizer_sha256": "tokenizer",
    "/request/contexts/window": "window",
    "/request/contexts/packing": "packing",
    "/request/tokens/bos": "bos",
    "/request/tokens/exclude_special": "exclude_special",
    "/request/tokens/exclude_positions": "exclude_positions",
    "/plan/documents": "documents",
    "/plan/windows": "windows",
    "/plan/tokens": "tokens",
    "/plan/counted_tokens": "counted_tokens",
}
# Where a manifest has what else decides the numbers that are compared.
_CHOICES: Final = (
    "/model/id",
    "/model/weights_sha256",
    "/dtype",
    "/request/neurons",
    "/request/tokens/exclude_sinks",
    "/request/contexts",
    "/request/senses",
    "/senses/encoder_sha256",
    "/senses/pairs_sha256",
    "/controls",
)
_SHOWN = 12  # of a hash, in a sentence
_NAMED = 3  # differences, in a sentence


def describe_text(manifest: Manifest) -> dict[str, Any]:
    return {name: _find(manifest, pointer) for pointer, name in _TEXT.items()}


def check_same_text(jobs: tuple[str, str], manifests: tuple[Manifest, Manifest]) -> None:
    """Raises OtherText, with a detail for each thing in which the two texts differ."""
    details = []
    for pointer, name in _TEXT.items():
        values = [_find(manifest, pointer) for manifest in manifests]
        if values[0] != values[1]:
            details.append(Detail(pointer, f"{name}: {_show(values[0])} and {_show(values[1])}"))
    if details:
        named = "; ".join(d.detail for d in details[:_NAMED])
        more = f"; and {len(details) - _NAMED} more" if len(details) > _NAMED else ""
        raise OtherText(
            f"{jobs[0]} and {jobs[1]} have not read the same text: {named}{more}",
            details=tuple(details),
        )


def list_unlike(manifests: tuple[Manifest, Manifest]) -> list[dict[str, Any]]:
    """What else the two were made with that is not alike: where the manifests have it, and both
    values.
    """
    found = []
    for pointer in _CHOICES:
        values = [dict(_leaves(pointer, _find(manifest, pointer))) for manifest in manifests]
        for place in dict.fromkeys([*values[0], *values[1]]):
            pair = [value.get(place) for value in values]
            if place not in _TEXT and pair[0] != pair[1]:
                found.append({"pointer": place, "values": pair})
    return found


def _find(manifest: Manifest, pointer: str) -> Any:
    value: Any = manifest
    for name in pointer.split("/")[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _leaves(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _leaves(f"{pointer}/{name}", below)
    else:
        yield pointer, value


def _show(value: Any) -> str:
    """As JSON has it; a hash by its beginning."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = str(value)
    return f"{text[:_SHOWN]}…" if len(text) == 64 else text
