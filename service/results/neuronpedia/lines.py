"""The JSON lines of one neuron: its feature, and its activations."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa

from polyseme.contract.files.column import CLAIMING
from polyseme.service.results.neuronpedia.contexts import is_shown, scale_of
from polyseme.service.results.neuronpedia.counts import Counts
from polyseme.service.results.neuronpedia.origin import Row, Texts

MOST_LOGITS: Final = 20  # a side

# What a result does not hold; the importer's tables have defaults for what is left out.
_UNKNOWN: Final = (
    '"dfaValues":[],"dfaTargetIndex":null,"dfaMaxValue":null,"lossValues":[],'
    '"logitContributions":null'
)
_NO_NEIGHBOURS: Final = '"topkCosSimIndices":[],"topkCosSimValues":[]'
_NO_TABLES: Final = ",".join(
    f'"{name}":[]'
    for name in (
        *(f"neuron_alignment_{part}" for part in ("indices", "values", "l1")),
        *(
            f"correlated_{what}_{part}"
            for what in ("neurons", "features")
            for part in ("indices", "pearson", "l1")
        ),
        "logits_hist_data_bar_heights",
        "logits_hist_data_bar_values",
        "decoder_weights_dist",
    )
)


def number(value: float) -> str:
    """JSON, to six significant digits."""
    return format(value, ".6g")


def describe_neuron(neuron: Row, contexts: Iterable[Row], texts: Texts) -> tuple[str, list[str]]:
    """The line of a feature, and those of its activations: contexts of the positive tail that
    fire.
    """
    counts = Counts.of(neuron, scale_of(neuron))
    shown = [c for c in contexts if is_shown(c)]
    top = max(shown, key=lambda c: c["activation"])["text"] if shown else "0"
    bins = _find_bins(neuron, counts, top)
    index = neuron["neuron"]
    lines = [
        f'{{"id":"{texts.job}-{index}-{i}",{texts.owner}"{index}",{c["shown"]},{bins[_bin_of(c)]},'
        f'"dataIndex":"{c["document"]}",{texts.source},{_UNKNOWN},{texts.stamp}}}'
        for i, c in enumerate(shown)
    ]
    return (
        f'{{{texts.owner}"{index}",{_show_feature(neuron, counts, top, texts)},{texts.stamp}}}',
        lines,
    )


def explain_neuron(neuron: Row, texts: Texts) -> str | None:
    """The line of an explanation: its sentence, where that claims something."""
    if neuron["status"] not in CLAIMING or neuron["meaning"] is None:
        return None
    index = neuron["neuron"]
    return (
        f'{{"id":"{texts.job}-{index}-meaning",{texts.owner}"{index}",'
        f'"description":{json.dumps(neuron["meaning"])},"typeName":null,'
        f'"explanationModelName":null,{texts.author}}}'
    )


def _show_feature(neuron: Row, counts: Counts, top: str, texts: Texts) -> str:
    heights, values = counts.bars()
    return ",".join(
        [
            f'"maxActApprox":{top}',
            f'"frac_nonzero":{number(neuron["density"] or 0.0)}',
            _show_logits("pos", neuron["promoted"], texts),
            _show_logits("neg", neuron["suppressed"], texts),
            f'"freq_hist_data_bar_heights":{heights}',
            f'"freq_hist_data_bar_values":{_join(map(number, values))}',
            f'"hookName":{json.dumps(neuron["hook"])}',
            _show_vector(neuron, texts),
            _NO_NEIGHBOURS,
            _NO_TABLES,
        ]
    )


def _show_logits(side: str, logits: Sequence[Row] | None, texts: Texts) -> str:
    shown = (logits or ())[:MOST_LOGITS]
    tokens = _join(texts.tokens.take(pa.array([e["token"] for e in shown], pa.int32())).to_pylist())
    return f'"{side}_str":{tokens},"{side}_values":{_join(number(e["logit"]) for e in shown)}'


def _show_vector(neuron: Row, texts: Texts) -> str:
    if texts.directions is None:
        return '"hasVector":false,"vector":[],"vectorLabel":null'
    numbers = array("f", texts.directions.row(neuron["neuron"]))
    label = texts.labels[neuron["neuron"]] if texts.labels else None
    shown = _join(map(number, numbers))
    return f'"hasVector":true,"vector":{shown},"vectorLabel":{json.dumps(label)}'


def _bin_of(context: Row) -> int | str:
    """Its band, or how it was chosen where that has none."""
    band: int | None = context["band"]
    return str(context["sample"]) if band is None else band


def _find_bins(neuron: Row, counts: Counts, top: str) -> dict[int | str, str]:
    """What is said of the bin of a context, by `_bin_of`."""
    fires = number(counts.share(0, counts.top))
    bins: dict[int | str, str] = {
        "top": f'"binMin":-1,"binMax":{top},"binContains":-1',
        "activation": f'"binMin":0,"binMax":{number(counts.top)},"binContains":{fires}',
    }
    for band in neuron["bands"] or ():
        # A band that begins at infinity is empty: no calibration window had a positive peak.
        if band["tail"] == "positive" and band["low"] is not None:
            low, high = band["low"] * counts.scale, counts.top
            if band["high"] is not None:
                high = band["high"] * counts.scale
            share = counts.share(low, high)
            bins[band["band"]] = (
                f'"binMin":{number(low)},"binMax":{number(high)},"binContains":{number(share)}'
            )
    return bins


def _join(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"
