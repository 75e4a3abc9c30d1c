"""The zip, and the records of each layer's source."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from polyseme.contract.files.results import report_file
from polyseme.contract.files.vector_sets import VectorFile
from polyseme.service.json_text import timestamp
from polyseme.service.results.exports import Sink
from polyseme.service.results.neuronpedia.contexts import read_neurons
from polyseme.service.results.neuronpedia.lines import describe_neuron, explain_neuron
from polyseme.service.results.neuronpedia.origin import Origin, Row, Texts
from polyseme.service.results.result import Results

FEATURES_A_FILE: Final = 128

_LEVEL: Final = 1  # of gzip: a sixth more bytes than level 6, in a quarter of its time


def stream_bundle(
    results: Results,
    origin: Origin,
    layers: Sequence[int],
    directions: AbstractContextManager[VectorFile | None],
) -> Iterator[bytes]:
    """The zip; stored, because its files are compressed.

    A batch of neurons is in memory at a time. directions: the units', where they are uploaded ones.
    """
    vocabulary = results.vocabulary(origin.job)
    tokens = pa.array([json.dumps(t) for t in vocabulary.texts.to_pylist()], pa.string())
    spoken = vocabulary.without_special()
    moment = datetime.fromtimestamp(origin.created_at, UTC).timetuple()[:6]
    sink = Sink()
    with (
        directions as file,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive,  # type: ignore[call-overload]
    ):
        for layer in layers:
            texts = Texts(origin, layer, tokens, spoken, file)
            with results.reading(origin.job, report_file(layer)) as path:
                for name, body in _files_of_layer(path, origin, layer, texts):
                    whole_name = f"{origin.model}/{origin.source(layer)}/{name}"
                    archive.writestr(zipfile.ZipInfo(whole_name, moment), body)
                    yield sink.take()
    yield sink.take()


def _files_of_layer(
    path: str, origin: Origin, layer: int, texts: Texts
) -> Iterator[tuple[str, bytes]]:
    for name, record in _describe_source(origin, layer).items():
        yield f"{name}.jsonl", f"{json.dumps(record)}\n".encode()
    for number, batch in enumerate(_batches(read_neurons(path, texts))):
        features, activations = [], []
        for neuron, contexts in batch:
            feature, lines = describe_neuron(neuron, contexts, texts)
            features.append(feature)
            activations += lines
        yield f"features/batch-{number}.jsonl.gz", _pack(features)
        yield f"activations/batch-{number}.jsonl.gz", _pack(activations)
        explained = [explain_neuron(neuron, texts) for neuron, _ in batch]
        if explanations := [line for line in explained if line is not None]:
            yield f"explanations/batch-{number}.jsonl.gz", _pack(explanations)


def _describe_source(origin: Origin, layer: int) -> dict[str, Row]:
    """The records that the importer asks for beside features and activations, by file name."""
    made = {"creatorId": origin.creator, "createdAt": timestamp(origin.created_at)}
    name = f"polyseme-{origin.job}"
    units = origin.units(layer)
    text = f"{units} of {origin.model}, analysed by Polyseme on the corpus {origin.corpus}"
    model = {
        "id": origin.model,
        "instruct": "instruct" in origin.model,
        "displayName": origin.model,
    }
    model |= {
        "displayNameShort": origin.model,
        "layers": origin.layers,
        "neuronsPerLayer": origin.neurons,
    }
    source = {
        "id": origin.source(layer),
        "modelId": origin.model,
        "setName": origin.source_set(layer),
        "dataset": origin.corpus,
    }
    return {
        "release": {
            "name": name,
            "description": text,
            "descriptionShort": text,
            "creatorName": "Polyseme",
            **made,
        },
        "model": model | made | {"updatedAt": made["createdAt"]},
        "sourceset": {
            "modelId": origin.model,
            "name": origin.source_set(layer),
            "description": text,
            "type": "neurons",
            "creatorName": "Polyseme",
            "releaseName": name,
            **made,
        },
        "source": source
        | {"num_tokens_in_prompt": origin.window, "inferenceEnabled": False, **made},
    }


def _batches(neurons: Iterable[tuple[Row, list[Row]]]) -> Iterator[list[tuple[Row, list[Row]]]]:
    held: list[tuple[Row, list[Row]]] = []
    for neuron in neurons:
        held.append(neuron)
        if len(held) == FEATURES_A_FILE:
            yield held
            held = []
    if held:
        yield held


def _pack(lines: Sequence[str]) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return packer.compress("".join(f"{line}\n" for line in lines).encode()) + packer.flush()
