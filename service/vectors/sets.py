"""Sets of directions: checked against their model, written to the store, registered."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from polyseme.contract.errors import Conflict, Gone, InvalidRequest, NotFound, UnknownLayer
from polyseme.contract.files.safetensors import format_header
from polyseme.contract.files.store import Layout
from polyseme.contract.files.vector_sets import open_set
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.vector_set import VECTORS_ID, VectorSet
from polyseme.service.access.quotas import check_room, find_quotas, too_many_bytes
from polyseme.service.context import Services
from polyseme.service.json_text import timestamp
from polyseme.service.vectors.sent import Sent


def register_vectors(services: Services, sent: Sent, card: ModelCard) -> tuple[VectorSet, bool]:
    """The set, and whether it is new.

    Raises InvalidRequest, UnknownSite and UnknownLayer with pointers, QuotaExceeded.
    """
    check_place(sent.site, sent.layer, sent.width, card)
    check_room(services, find_quotas(services))
    folder = Path(services.settings.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return _keep(services, _write(sent, file), file)


def check_place(site: str, layer: int, width: int, card: ModelCard) -> None:
    """Raises UnknownSite, UnknownLayer, InvalidRequest."""
    try:
        units = card.site(site).units
    except InvalidRequest as e:
        raise type(e)(e.message, pointer="/site") from e
    if layer >= card.layers:
        raise UnknownLayer(
            f"layer {layer} of {card.id}: it has 0 to {card.layers - 1}", pointer="/layer"
        )
    if width != units:
        raise InvalidRequest(
            f"vectors of {width} numbers: {site} of {card.id} has {units}", pointer="/vectors"
        )


def _write(sent: Sent, file: IO[bytes]) -> VectorSet:
    """Writes the set's file. Raises InvalidRequest for a number that is none, or a zero vector."""
    about = {"model": sent.model, "site": sent.site, "layer": str(sent.layer)}
    about |= {} if sent.name is None else {"name": sent.name}
    if sent.labels is not None:
        about["labels"] = json.dumps(sent.labels)
    shapes: dict[str, tuple[int, ...]] = {"vectors": (sent.count, sent.width)}
    shapes |= {} if sent.bias is None else {"bias": (sent.count,)}
    place = {"site": sent.site, "layer": sent.layer, "shapes": shapes}
    units = hashlib.sha256(json.dumps(place).encode())
    whole = hashlib.sha256()
    header = format_header(shapes, about)
    file.write(header)
    whole.update(header)
    for content in _numbers(sent):
        file.write(content)
        whole.update(content)
        units.update(content)
    # Of a normalized set the numbers say it, but that it was asked for is shown.
    known = hashlib.sha256(whole.digest() + bytes([sent.normalize]))
    return VectorSet(
        id=f"vec_{known.hexdigest()[:24]}",
        name=sent.name,
        model=sent.model,
        site=sent.site,
        layer=sent.layer,
        count=sent.count,
        width=sent.width,
        has_bias=sent.bias is not None,
        normalized=sent.normalize,
        labels=sent.labels is not None,
        sha256=whole.hexdigest(),
        units_sha256=units.hexdigest(),
        size=file.tell(),
        created_at=time.time(),
    )


def _numbers(sent: Sent) -> Iterator[bytes]:
    """Float32, little-endian: row by row, then the bias."""
    lengths: list[float] = []
    for number, row in enumerate(sent.rows()):
        narrow = _narrow(row, f"/vectors/{number}")
        if not pc.any(pc.not_equal(narrow, 0.0)).as_py():
            raise InvalidRequest(
                f"vector {number} is zero everywhere, so it has no direction",
                pointer=f"/vectors/{number}",
            )
        wide = narrow.cast(pa.float64())
        lengths.append(math.sqrt(pc.sum(pc.multiply(wide, wide)).as_py()))
        yield _content(pc.divide(wide, lengths[-1]) if sent.normalize else narrow)
    if sent.bias is not None:
        bias = _narrow(sent.bias, "/bias")
        by = pa.array(lengths, pa.float64())
        yield _content(pc.divide(bias.cast(pa.float64()), by) if sent.normalize else bias)


def _narrow(numbers: pa.Array, pointer: str) -> pa.Array:
    """As float32. Raises InvalidRequest."""
    narrow = numbers.cast(pa.float32(), safe=False)
    at = pc.index(pc.is_finite(narrow), False).as_py()
    if at >= 0:
        raise InvalidRequest(
            f"{numbers[at].as_py()} is no finite number of float32", pointer=f"{pointer}/{at}"
        )
    return narrow


def _content(numbers: pa.Array) -> bytes:
    narrow = numbers.cast(pa.float32(), safe=False)
    content: bytes = narrow.buffers()[1].slice(4 * narrow.offset, 4 * len(narrow)).to_pybytes()
    return content


def _keep(services: Services, vectors: VectorSet, file: IO[bytes]) -> tuple[VectorSet, bool]:
    board, store, tenant = services.board, services.store, services.tenant
    registered = board.registry.add_vectors(vectors, tenant)
    path, item = Layout.vectors(vectors.id, tenant), f"vectors:{vectors.id}"
    if registered != vectors and store.exists(path):
        return registered, False
    try:
        quotas = find_quotas(services)
        size = file.seek(0, os.SEEK_END)
        if not board.accounts.note_stored(tenant, item, size, limit=quotas.stored_bytes):
            raise too_many_bytes(services, quotas)
        file.seek(0)
        with store.writing(path) as target:
            shutil.copyfileobj(file, target, 1 << 20)
    except BaseException:
        if registered == vectors:
            board.registry.delete_vectors(vectors.id, tenant)
            board.accounts.note_stored(tenant, item, 0)
        raise
    return registered, registered == vectors


def find_vectors(services: Services, name: str) -> VectorSet:
    """Raises NotFound, for another tenant's too."""
    found = None
    if VECTORS_ID.fullmatch(name):
        found = services.board.registry.get_vectors(name, services.tenant)
    if found is None:
        raise NotFound(f"no vectors {name!r}")
    return found


def delete_vectors(services: Services, name: str) -> None:
    """Raises NotFound, and Conflict while a job that has not ended reads it."""
    find_vectors(services, name)
    board, tenant = services.board, services.tenant
    jobs = (j for j in board.jobs.iterate(board.jobs.list_active()) if j.tenant == tenant)
    if user := next(
        (j.id for j in jobs if j.kind == "analysis" and j.analysis.neurons.vectors == name), None
    ):
        raise Conflict(f"the vectors {name!r} are read by {user}, which has not ended")
    # The file first: a deletion that was cut short is seen, and can be asked for again.
    services.store.delete(Layout.vector_set(name, tenant))
    board.accounts.note_stored(tenant, f"vectors:{name}", 0)
    board.registry.delete_vectors(name, tenant)


def read_labels(services: Services, vectors: VectorSet) -> tuple[str, ...] | None:
    """Raises Gone."""
    if not vectors.labels:
        return None
    try:
        with open_set(services.store, vectors, services.tenant) as opened:
            return opened.labels
    except FileNotFoundError as e:
        raise Gone(f"the file of {vectors.id} is no longer in the store") from e


def vectors_to_dict(vectors: VectorSet, labels: tuple[str, ...] | None = None) -> dict[str, Any]:
    shown = asdict(vectors)
    del shown["units_sha256"]
    shown["bytes"] = shown.pop("size")
    created = timestamp(vectors.created_at)
    return {"object": "vectors", **shown, "labels": labels, "created_at": created}
