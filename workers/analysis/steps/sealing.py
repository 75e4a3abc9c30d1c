"""The seals of a result's files on their way into its manifest.

Each layer's are kept in the work folder until the last step, which looks whether the files are
still what was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from polyseme.contract.files.seals import Seal, SealedFolder, check_file, check_sizes
from polyseme.workers.analysis.files.arrays import read_arrays, write_arrays
from polyseme.workers.analysis.machine.stopping import Stop, check_stop
from polyseme.workers.analysis.reports.result_files import write_manifest
from polyseme.workers.analysis.steps.analysis import Analysis, seals_file


def result_folder(analysis: Analysis) -> SealedFolder:
    return SealedFolder(analysis.store, analysis.result)


def keep_seals(analysis: Analysis, layer: int, result: SealedFolder) -> None:
    """With the checksum that a file of arrays has."""
    content = json.dumps({name: asdict(seal) for name, seal in result.seals.items()}).encode()
    path = seals_file(analysis, layer)
    write_arrays(analysis.store, path, {"seals": np.frombuffer(content, np.uint8)})


def read_layer_seals(analysis: Analysis) -> dict[str, Seal]:
    """Of the files of all layers, once it is seen that they have the size they were written with.

    Raises DamagedFile.
    """
    seals: dict[str, Seal] = {}
    for layer in analysis.layers:
        content = read_arrays(analysis.store, seals_file(analysis, layer))["seals"].tobytes()
        seals |= {name: Seal(**seal) for name, seal in json.loads(content).items()}
    check_sizes(analysis.store, analysis.result, seals)
    return seals


def seal_result(
    analysis: Analysis,
    manifest: Mapping[str, Any],
    of_layers: Mapping[str, Seal],
    result: SealedFolder,
    should_stop: Stop,
) -> None:
    """Writes the manifest, once every file is seen to be what was written. Those that this step did
    not write itself are read again for that.

    result: what this step has written. Raises DamagedFile, Cancelled.
    """
    for name, seal in of_layers.items():
        check_stop(should_stop)
        check_file(analysis.store, f"{analysis.result}/{name}", seal)
    seals = {**of_layers, **result.seals}
    check_sizes(analysis.store, analysis.result, seals)
    write_manifest(analysis.store, analysis.result, manifest, seals)
