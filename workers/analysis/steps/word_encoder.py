"""Which sentence encoder a job's words are compared by: decided once, when it is planned."""

from __future__ import annotations

import json

from polyseme.contract.errors import DamagedFile
from polyseme.workers.analysis.models.encoder import WordEncoder
from polyseme.workers.analysis.reports.result_files import read_manifest
from polyseme.workers.analysis.steps.analysis import Analysis
from polyseme.workers.analysis.steps.copies import first_copy, read_copied_manifest


def encoder_file(work: str) -> str:
    return f"{work}/encoder.json"


def choose_encoder(analysis: Analysis) -> None:
    """Notes the encoder that is here, or that there is none."""
    chosen = json.dumps({"sha256": analysis.encoder.identify()})
    analysis.store.write(encoder_file(analysis.work), chosen.encode())


def chosen_encoder(analysis: Analysis) -> str | None:
    """Its weights' SHA-256; None for none, and of a job without senses. Of a job without a scan,
    that of the result whose layers it takes over.

    Raises DamagedFile.
    """
    if not analysis.request.senses.enabled:
        return None
    if not analysis.scanned:
        manifest = read_copied_manifest(analysis.store, first_copy(analysis))
        return _of_manifest(manifest["senses"])
    path = encoder_file(analysis.work)
    try:
        found: str | None = json.loads(analysis.store.read(path))["sha256"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as e:
        raise DamagedFile(f"{path} is missing or damaged: {e}", path=path) from e
    return found


def encoder_of_result(analysis: Analysis, source: str) -> WordEncoder | None:
    """That of a finished result, for senses made anew from it. source: its folder.

    Raises OtherEncoder where this process has another.
    """
    return analysis.encoder.find(_of_manifest(read_manifest(analysis.store, source)["senses"]))


def _of_manifest(senses: dict[str, str | None] | None) -> str | None:
    return None if senses is None else senses["encoder_sha256"]
