"""A set of directions as it was sent: what it says of itself, and its numbers row by row.

Knows JSON and safetensors; neither the store nor any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
from marshmallow import ValidationError

from polyseme.contract.errors import Detail, InvalidRequest, MalformedRequest
from polyseme.contract.files.safetensors import SIZES, Header, Tensor, read_header
from polyseme.contract.records.vector_set import MOST_ROWS, WIDEST
from polyseme.contract.strict_json import parse_json
from polyseme.service.http.problems import invalid_values
from polyseme.service.schemas.vectors import VectorsBodySchema, VectorsSaidSchema

_TENSORS = ("vectors", "bias")


@dataclass(frozen=True)
class Sent:
    model: str
    site: str
    layer: int
    name: str | None
    labels: tuple[str, ...] | None
    normalize: bool
    count: int
    width: int
    rows: Callable[[], Iterator[pa.Array]]  # of numbers as they came, `width` each
    bias: pa.Array | None


def read_body(body: Any) -> Sent:
    """Of the JSON. Raises InvalidRequest."""
    data = _load(VectorsBodySchema(), body)
    vectors: Sequence[Sequence[float]] = data.pop("vectors")
    bias = data.pop("bias", None)
    _check_shape(len(vectors), len(vectors[0]))
    return _check_counts(
        Sent(
            **_said(data),
            count=len(vectors),
            width=len(vectors[0]),
            rows=lambda: (pa.array(row, pa.float64()) for row in vectors),
            bias=None if bias is None else pa.array(bias, pa.float64()),
        )
    )


def read_file(file: IO[bytes], size: int, query: Mapping[str, Any]) -> Sent:
    """Of a safetensors file. query: what the request says beside it.

    Raises MalformedRequest, InvalidRequest.
    """
    header = read_header(file, size)
    _check_tensors(header)
    said = _load(VectorsSaidSchema(), _read_metadata(header.metadata, query))
    tensor = header.tensors["vectors"]
    count, width = tensor.shape
    bias = header.tensors.get("bias")

    def rows() -> Iterator[pa.Array]:
        for number in range(count):
            yield _read_numbers(file, tensor, number * width, width)

    return _check_counts(
        Sent(
            **_said(said),
            count=count,
            width=width,
            rows=rows,
            bias=None if bias is None else _read_numbers(file, bias, 0, bias.shape[0]),
        )
    )


def _load(schema: Any, data: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as e:
        raise invalid_values(e.normalized_messages()) from e
    return loaded


def _said(data: Mapping[str, Any]) -> dict[str, Any]:
    labels = data.get("labels")
    return {
        "model": data["model"],
        "site": data["site"],
        "layer": data["layer"],
        "name": data.get("name"),
        "labels": None if labels is None else tuple(labels),
        "normalize": data.get("normalize", False),
    }


def _read_metadata(metadata: Mapping[str, str], query: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of itself, in the types of JSON, with what the query says."""
    said: dict[str, Any] = {
        name: metadata[name] for name in ("model", "site", "name") if name in metadata
    }
    if "layer" in metadata:
        text = metadata["layer"]
        is_number = text.isascii() and text.isdigit() and len(text) < 8
        said["layer"] = int(text) if is_number else text
    if "labels" in metadata:
        try:
            said["labels"] = parse_json(metadata["labels"].encode())
        except MalformedRequest as e:
            raise InvalidRequest(
                f"the file's labels are to be a JSON list of texts: {e.message}", pointer="/labels"
            ) from e
    for name in sorted(said.keys() & query.keys()):
        if said[name] != query[name]:
            raise InvalidRequest(
                f"{name}: the file says {str(said[name])[:60]!r}, the query "
                f"{str(query[name])[:60]!r}",
                pointer=f"/{name}",
            )
    return said | dict(query)


def _check_tensors(header: Header) -> None:
    found: list[Detail] = []
    if others := sorted(header.tensors.keys() - set(_TENSORS)):
        text = f"tensor {others[0][:40]!r}: the file has `vectors` and, if any, `bias` alone"
        found.append(Detail("", text))
    if "vectors" not in header.tensors:
        found.append(Detail("/vectors", "the file has no tensor `vectors`"))
    for name, axes in (("vectors", 2), ("bias", 1)):
        tensor = header.tensors.get(name)
        if tensor is not None and tensor.dtype not in SIZES:
            text = f"{name} is of the dtype {tensor.dtype}: send {', '.join(SIZES)}"
            found.append(Detail(f"/{name}", text))
        if tensor is not None and len(tensor.shape) != axes:
            wanted = "(count, width)" if axes == 2 else "(count,)"
            text = f"{name} has the shape {list(tensor.shape)}: expected {wanted}"
            found.append(Detail(f"/{name}", text))
    if found:
        raise InvalidRequest("; ".join(d.detail for d in found), details=tuple(found))
    _check_shape(*header.tensors["vectors"].shape)


def _check_shape(count: int, width: int) -> None:
    if not (1 <= count <= MOST_ROWS and 1 <= width <= WIDEST):
        raise InvalidRequest(
            f"{count} vectors of {width} numbers: a set has 1 to {MOST_ROWS}, of at most {WIDEST}",
            pointer="/vectors",
        )


def _check_counts(sent: Sent) -> Sent:
    counts = {
        "labels": None if sent.labels is None else len(sent.labels),
        "bias": None if sent.bias is None else len(sent.bias),
    }
    wrong = {n: c for n, c in counts.items() if c is not None and c != sent.count}
    if wrong:
        details = tuple(
            Detail(f"/{name}", f"{name} has {count} for {sent.count} vectors: one each, or none")
            for name, count in wrong.items()
        )
        raise InvalidRequest("; ".join(d.detail for d in details), details=details)
    return sent


def _read_numbers(file: IO[bytes], tensor: Tensor, first: int, count: int) -> pa.Array:
    size = SIZES[tensor.dtype]
    file.seek(tensor.begin + first * size)
    content = file.read(count * size)
    if tensor.dtype == "BF16":  # the upper half of a float32
        wide = bytearray(4 * count)
        wide[2::4], wide[3::4] = content[0::2], content[1::2]
        content = bytes(wide)
    kind = {"F64": pa.float64(), "F16": pa.float16()}.get(tensor.dtype, pa.float32())
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(content)])
