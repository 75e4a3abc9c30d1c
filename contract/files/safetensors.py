"""The safetensors format: 8 bytes of little-endian length, a JSON header of so many, raw numbers.

Reads a header that came from anywhere; no number is looked at. Knows no numpy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from polyseme.contract.errors import MalformedRequest
from polyseme.contract.strict_json import parse_json

LENGTH_BYTES: Final = 8
MOST_HEADER_BYTES: Final = 2 << 20
SIZES: Final[Mapping[str, int]] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

_OTHERS: Final = (
    "BOOL",
    "U8",
    "I8",
    "I16",
    "U16",
    "I32",
    "U32",
    "I64",
    "U64",
    "F8_E4M3",
    "F8_E5M2",
)


@dataclass(frozen=True)
class Tensor:
    dtype: str  # of SIZES, or another that the format has
    shape: tuple[int, ...]
    begin: int  # in the file
    end: int


@dataclass(frozen=True)
class Header:
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def read_header(file: IO[bytes], size: int) -> Header:
    """size: of the file.

    Raises MalformedRequest for one that is not safetensors, whose tensors lie over each other or
    leave something out, or that is cut off.
    """
    file.seek(0)
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if size < LENGTH_BYTES + 2:
        raise MalformedRequest(f"the body is no safetensors file: it has {size} bytes")
    if length > MOST_HEADER_BYTES:
        raise MalformedRequest(
            f"the body is no safetensors file, or its header is too long: {length} bytes, at most "
            f"{MOST_HEADER_BYTES}"
        )
    if length > size - LENGTH_BYTES:
        raise MalformedRequest(
            f"the safetensors file ends early: its header has {length} bytes, and {size - 8} follow"
        )
    try:
        data = parse_json(file.read(length))
    except MalformedRequest as e:
        raise MalformedRequest(f"the safetensors header: {e.message}") from e
    if not isinstance(data, dict):
        raise MalformedRequest("the safetensors header is no JSON object")
    metadata = data.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise MalformedRequest("the safetensors header: __metadata__ has texts alone")
    first = LENGTH_BYTES + length
    tensors = {name: _read_tensor(name, entry, first) for name, entry in data.items()}
    _check_places(tensors, first, size)
    return Header(tensors, metadata)


def _read_tensor(name: str, entry: Any, first: int) -> Tensor:
    where = f"the safetensors header: tensor {name[:40]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedRequest(f"{where} has not just dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in (*SIZES, *_OTHERS):
        raise MalformedRequest(f"{where} is of the dtype {str(dtype)[:20]!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise MalformedRequest(f"{where}: shape and data_offsets are whole numbers from 0")
    begin, end = offsets
    if dtype in SIZES and end - begin != math.prod(shape) * SIZES[dtype]:
        raise MalformedRequest(
            f"{where}: {dtype} of shape {shape} has {math.prod(shape) * SIZES[dtype]} bytes, and "
            f"its data_offsets say {end - begin}"
        )
    return Tensor(dtype, tuple(shape), first + begin, first + end)


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 8
        and all(type(v) is int and 0 <= v < 1 << 48 for v in values)
    )


def _check_places(tensors: Mapping[str, Tensor], first: int, size: int) -> None:
    """One after the other, from the header to the end."""
    at = first
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at or tensor.end < tensor.begin:
            raise MalformedRequest(
                f"the safetensors header: tensor {name[:40]!r} does not begin where the one before "
                f"it ends"
            )
        at = tensor.end
    if at != size:
        raise MalformedRequest(
            f"the safetensors file has {size} bytes, and its header speaks of {at}"
        )


def format_header(tensors: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    """What stands before float32 tensors that lie one after the other, by their shapes."""
    data: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name, shape in tensors.items():
        end = at + math.prod(shape) * SIZES["F32"]
        data[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(data, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that numbers lie at multiples of 8
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
