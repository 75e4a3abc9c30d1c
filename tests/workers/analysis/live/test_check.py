"""A text through a tiny model, read against an analysis of other texts with the same model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from polyseme.contract.errors import AnalysisError, Cancelled, NonFiniteActivation
from polyseme.contract.files.results import MANIFEST, report_file
from polyseme.contract.files.store import Store
from polyseme.contract.records.job import ACTIVATIONS, ActivationsRequest
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses
from polyseme.workers.analysis.live.check import Check, read_reports, write_activations
from polyseme.workers.analysis.live.text_run import Target
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.encoder import LazyEncoder
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.senses.firing import FIRES
from tests.factories import make_texts
from tests.tiny_models import load_tiny
from tests.workers.analysis.builders import points_of

WINDOW, LAYERS = 32, (0, 2)
TEXTS = make_texts(120, seed=3)
TARGETS: tuple[Target, ...] = tuple(
    (layer, neuron) for layer in LAYERS for neuron in range(0, 48, 2)
)


@dataclass(frozen=True)
class Analysed:
    """A finished analysis in `folder`, and its model."""

    model: LoadedModel
    folder: Path
    request: AnalysisRequest
    encoder: LazyEncoder = field(default_factory=LazyEncoder)

    def check(
        self, text: str, targets: tuple[Target, ...] = TARGETS, top: int = 1000
    ) -> dict[str, Any]:
        request = ActivationsRequest("job", self.model.card.id, text, targets, top)
        store = Store(str(self.folder))
        write_activations(Check(request, store, ".", "check", 64, self.encoder), self.model)
        found: dict[str, Any] = json.loads(store.read(f"check/{ACTIVATIONS}"))
        return found

    def contexts(self) -> Iterator[tuple[Target, dict[str, Any]]]:
        store = Store(str(self.folder))
        for target, row in read_reports(store, ".", self.request, self.model.card, TARGETS).items():
            yield from ((target, context) for context in row["contexts"] + row["evidence"])


def analyse(model: LoadedModel, folder: Path, **senses: Any) -> Analysed:
    contexts = Contexts(window=WINDOW, tails="both", display_tokens=16)
    request = AnalysisRequest(
        model.card.id,
        "c",
        Neurons(layers=LAYERS, indices=tuple(range(0, 48, 2))),
        contexts,
        senses=Senses(**senses),
    )
    run_analysis(model, request, TEXTS, folder)
    return Analysed(model, folder, request)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    folder = tmp_path_factory.mktemp("live")
    return analyse(load_tiny("llama", folder / "model"), folder / "result")


def neuron_of(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    (found,) = (n for n in answer["neurons"] if (n["layer"], n["neuron"]) == target)
    return dict(found)


def token_at(answer: dict[str, Any], start: int) -> int:
    """The token that begins at a character."""
    (found,) = (
        i for i, t in enumerate(answer["tokens"]) if t["char_span"] and t["char_span"][0] == start
    )
    return int(found)


def test_activations_are_those_of_the_model_window_by_window(analysed: Analysed) -> None:
    text = " ".join(TEXTS[:3])
    ids, _, _ = tokenize(analysed.model.tokenizer, [text])[0]
    wanted: dict[int, list[np.ndarray]] = {layer: [] for layer in LAYERS}
    for first in range(0, len(ids), WINDOW):
        block = torch.from_numpy(ids[None, first : first + WINDOW].astype(np.int64))
        run_block(
            analysed.model,
            block,
            None,
            points_of(analysed.model, LAYERS),
            lambda layer, a: wanted[layer].append(a[0].numpy().copy()),
        )

    answer = analysed.check(text)

    assert [t["token_id"] for t in answer["tokens"]] == ids.tolist()
    assert len(ids) > 2 * WINDOW
    for layer, neuron in TARGETS:
        found = neuron_of(answer, (layer, neuron))["activations"]
        assert found == pytest.approx(np.concatenate(wanted[layer])[:, neuron], abs=1e-4)


def test_tokens_say_where_they_stand_and_which_window_they_are_of(analysed: Analysed) -> None:
    text = " ".join(TEXTS[:3])

    tokens = analysed.check(text)["tokens"]

    assert all(text[slice(*t["char_span"])] == t["token"] for t in tokens)
    assert [t["window"] for t in tokens] == [i // WINDOW for i in range(len(tokens))]


@pytest.mark.parametrize("rows", [1, 5, 24])
def test_reports_are_found_in_row_groups_of_any_size(
    analysed: Analysed, tmp_path: Path, rows: int
) -> None:
    for layer in LAYERS:
        table = pq.read_table(analysed.folder / report_file(layer))
        (tmp_path / report_file(layer)).parent.mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / report_file(layer), row_group_size=rows)

    found = read_reports(
        Store(str(tmp_path)), ".", analysed.request, analysed.model.card, TARGETS[::3]
    )

    assert [(target, row["neuron"]) for target, row in found.items()] == [
        (t, t[1]) for t in TARGETS[::3]
    ]


def test_every_peak_is_above_the_threshold_of_its_tail(analysed: Analysed) -> None:
    answer = analysed.check(TEXTS[0])

    reports = read_reports(
        Store(str(analysed.folder)), ".", analysed.request, analysed.model.card, TARGETS
    )
    for target, report in reports.items():
        found = neuron_of(answer, target)
        assert found["threshold"]["positive"] == pytest.approx(FIRES * report["max"])
        assert found["threshold"]["negative"] == pytest.approx(FIRES * report["min"])
        for peak in found["peaks"]:
            assert peak["activation"] == found["activations"][peak["token"]]
            assert abs(peak["activation"]) > abs(found["threshold"][peak["tail"]])


def test_a_context_in_its_own_text_has_the_sense_it_was_given(analysed: Analysed) -> None:
    same = total = 0
    answers: dict[int, dict[str, Any]] = {}
    for target, context in analysed.contexts():
        document = context["document"]
        if context["sense"] is None or document >= 5:
            continue
        answer = answers.setdefault(
            document, analysed.check(TEXTS[document]) if document not in answers else {}
        )
        found = neuron_of(answer, target)
        token = token_at(answer, context["char_start"])
        assert found["activations"][token] == pytest.approx(context["activation"], abs=1e-4)
        for peak in found["peaks"]:
            if (peak["token"], peak["tail"]) == (token, context["tail"]):
                total += 1
                same += peak["sense"] == context["sense"]

    # A context on the border of two senses may be nearer to the other one.
    assert total > 100
    assert same / total > 0.9


def test_two_senses_joined_in_one_text_cross(analysed: Analysed) -> None:
    strong = [
        (t, c) for t, c in analysed.contexts() if c["sense"] is not None and c["sample"] == "top"
    ]
    target, first = strong[0]
    second = next(
        c
        for t, c in strong
        if t == target and c["tail"] == first["tail"] and c["sense"] != first["sense"]
    )

    answer = analysed.check(f"{TEXTS[first['document']]}\n{TEXTS[second['document']]}", (target,))

    wanted = sorted([first["sense"], second["sense"]])
    [crossing] = [
        c
        for c in answer["neurons"][0]["cross_activations"]
        if c["senses"] == wanted and c["tail"] == first["tail"]
    ]
    peaks = {p["token"]: p for p in answer["neurons"][0]["peaks"]}
    assert [peaks[t]["sense"] for t in crossing["tokens"]] == wanted
    assert [peaks[t]["name"] for t in crossing["tokens"]] == crossing["names"]
    assert 0 < crossing["same"] < 0.5


def test_only_the_strongest_peaks_are_listed_in_the_order_of_the_text(analysed: Analysed) -> None:
    everything = neuron_of(analysed.check(TEXTS[1]), TARGETS[0])["peaks"]

    listed = neuron_of(analysed.check(TEXTS[1], top=2), TARGETS[0])["peaks"]

    strongest = sorted(everything, key=lambda p: -abs(p["activation"]))[:2]
    assert len(everything) > 2
    assert listed == sorted(strongest, key=lambda p: p["token"])


def test_special_tokens_are_no_part_of_the_text_and_do_not_count(tmp_path: Path) -> None:
    model = load_tiny("bert", tmp_path / "model")
    found = analyse(model, tmp_path / "result")

    answer = found.check("the river and the bank")

    assert [answer["tokens"][i]["token"] for i in (0, -1)] == ["[CLS]", "[SEP]"]
    assert [answer["tokens"][i]["char_span"] for i in (0, -1)] == [None, None]
    activations = answer["neurons"][0]["activations"]
    assert (activations[0], activations[-1]) == (None, None)
    assert None not in activations[1:-1]


def test_where_no_peak_can_have_a_sense_a_note_says_why(analysed: Analysed, tmp_path: Path) -> None:
    answer = analyse(analysed.model, tmp_path, enabled=False).check(TEXTS[0])

    assert "switched off" in answer["note"]
    peaks = [p for n in answer["neurons"] for p in n["peaks"]]
    assert peaks
    assert {(p["sense"], p["same"], p["name"]) for p in peaks} == {(None, None, None)}


def test_a_text_in_which_nothing_fires_has_no_peaks(analysed: Analysed, tmp_path: Path) -> None:
    store = Store(str(analysed.folder))
    request = ActivationsRequest("job", "m", "a", ((0, 0),), 5)

    count = write_activations(
        Check(request, store, ".", "check", 64, LazyEncoder()), analysed.model
    )

    assert count == 1
    [neuron] = json.loads(store.read(f"check/{ACTIVATIONS}"))["neurons"]
    assert len(neuron["activations"]) == 1


def test_a_check_can_be_stopped(analysed: Analysed) -> None:
    request = ActivationsRequest("job", "m", TEXTS[0], ((0, 0),), 5)
    check = Check(request, Store(str(analysed.folder)), ".", "stopped", 64, LazyEncoder())

    with pytest.raises(Cancelled):
        write_activations(check, analysed.model, should_stop=lambda: True)

    assert not check.store.exists(f"stopped/{ACTIVATIONS}")


def test_a_result_that_is_gone_or_of_another_format_is_an_error(
    analysed: Analysed, tmp_path: Path
) -> None:
    request = ActivationsRequest("job", "m", TEXTS[0], ((0, 0),), 5)
    check = Check(request, Store(str(tmp_path)), "gone", "check", 64, LazyEncoder())
    check.store.write(f"old/{MANIFEST}", b'{"format": 1}')

    with pytest.raises(AnalysisError, match="no longer there"):
        write_activations(check, analysed.model)
    with pytest.raises(AnalysisError, match="format 1"):
        write_activations(replace(check, source="old"), analysed.model)


def test_a_neuron_that_is_not_finite_in_a_text_is_named(analysed: Analysed) -> None:
    projection = analysed.model.parts.inputs[2][1]
    weight = projection.weight[4].clone()
    projection.weight[4] = torch.nan
    try:
        with pytest.raises(NonFiniteActivation, match=r"layer 2, neuron 4: .*no dtype helps"):
            analysed.check(TEXTS[0])
    finally:
        projection.weight[4] = weight
