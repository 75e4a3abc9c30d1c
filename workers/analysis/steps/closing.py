"""The last step: one file of scalars of all layers, the vectors, the summary, the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from polyseme.contract.files.results import BACKGROUND, VECTORS
from polyseme.contract.files.seals import SealedFolder
from polyseme.contract.records.request import Contexts
from polyseme.workers.analysis.corpus.plan import read_plan
from polyseme.workers.analysis.machine.stopping import Stop, check_stop, never, until
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import frame
from polyseme.workers.analysis.reports.dictionaries import Described, warn_of_misfits
from polyseme.workers.analysis.reports.result_files import (
    read_scalars,
    write_controls,
    write_neurons,
    write_summary,
    write_vectors,
    write_vocabulary,
)
from polyseme.workers.analysis.reports.summary import summarise
from polyseme.workers.analysis.senses.layer_senses import (
    Background,
)
from polyseme.workers.analysis.senses.vectors import (
    PROJECTED,
    read_vectors,
)
from polyseme.workers.analysis.steps.analysis import Analysis, controls_file, scalars_file
from polyseme.workers.analysis.steps.copies import (
    only_copy,
    read_copied_plan,
    read_copied_seals,
    read_copied_vectors,
)
from polyseme.workers.analysis.steps.document_languages import keep_languages
from polyseme.workers.analysis.steps.kept_peaks import join_peaks
from polyseme.workers.analysis.steps.lost_neurons import warn_of_nonfinite
from polyseme.workers.analysis.steps.manifest import describe_analysis
from polyseme.workers.analysis.steps.projecting import background_file
from polyseme.workers.analysis.steps.sealing import read_layer_seals, result_folder, seal_result


def close_analysis(
    analysis: Analysis, model: LoadedModel, *, should_stop: Stop = never
) -> dict[str, Any]:
    """Joins the layers and writes what describes the whole.

    Afterwards the work folder is of no use.

    Returns the manifest. Raises Cancelled; DamagedFile when a layer's files are not what was
    written.
    """
    plan = (
        asdict(read_plan(analysis.store, analysis.work))
        if analysis.scanned
        else read_copied_plan(analysis)
    )
    of_layers, result = read_layer_seals(analysis), result_folder(analysis)
    if analysis.request.senses.enabled:
        _keep_vectors(analysis, result, should_stop)
        keep_languages(analysis, result)
    check_stop(should_stop)
    framing = frame(model.tokenizer, analysis.card, analysis.request.tokens.bos)
    write_vocabulary(result, model.vocabulary, framing.special)
    manifest = describe_analysis(analysis, model, plan)
    dictionaries = manifest["dictionaries"] or ()
    warnings = [
        *_warn_of_few_documents(analysis),
        *warn_of_nonfinite(analysis, model),
        *warn_of_misfits(dictionaries),
    ]
    join_layers(analysis, plan, warnings, dictionaries, result)
    seal_result(analysis, manifest, of_layers, result, should_stop)
    return manifest


def _warn_of_few_documents(analysis: Analysis) -> list[str]:
    contexts, documents = analysis.request.contexts, analysis.corpus.documents
    few = contexts.per_document is not None and documents == contexts.top_k < Contexts.top_k
    return [contexts.explain_few()] if few else []


def join_layers(
    analysis: Analysis,
    plan: Mapping[str, Any],
    warnings: Sequence[str],
    dictionaries: Sequence[Described],
    result: SealedFolder,
) -> None:
    """Writes the scalars of all layers as one table, those of their control units as another, and
    a summary with the warnings. dictionaries: as the manifest has them.
    """
    layers = [
        read_scalars(analysis.store, scalars_file(analysis, layer)) for layer in analysis.layers
    ]
    controlled = analysis.layers if analysis.controls else ()
    of_controls = [
        read_scalars(analysis.store, controls_file(analysis, layer)) for layer in controlled
    ]
    neurons = write_neurons(result, layers)
    controls = write_controls(result, of_controls)
    summary = summarise(neurons, plan, warnings, controls, dictionaries)
    write_summary(result, summary)


def _keep_vectors(analysis: Analysis, result: SealedFolder, should_stop: Stop) -> None:
    """Puts what senses were made of into the result, so that they can be made anew without the
    model.
    """
    store = analysis.store
    # Read first: a damaged one must not get into the result.
    background = Background.read(store, background_file(analysis))
    background.write(result, BACKGROUND)
    # By row first, as vectors lie; the window says the same to whoever reads the result.
    kept = join_peaks(analysis)
    if copy := only_copy(analysis, len(kept.row)):
        result.take(copy, VECTORS, read_copied_seals(store, copy)[VECTORS])
        return
    pieces = until(_vectors_at(analysis, kept.keys), should_stop)
    write_vectors(result, background.projected.shape[1], kept.columns, pieces)


def _vectors_at(analysis: Analysis, keys: np.ndarray) -> Iterator[np.ndarray]:
    """Of a job with a scan they are all in its own files, those of the layers that it takes over
    too.
    """
    if not analysis.scanned:
        return read_copied_vectors(analysis, keys)
    plan = read_plan(analysis.store, analysis.work)
    return read_vectors(
        analysis.store, analysis.projected, plan, PROJECTED, keys >> 32, keys & 0xFFFF_FFFF
    )
