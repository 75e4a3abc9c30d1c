from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.senses.readers import read_answers, read_key, report, write_sheets
from polyseme.reports import Context, Evidence, Report, Sense


def make_report(neuron: int, status: str = "polysemantic") -> Report:
    def context(word: str, activation: float, sense: int | None) -> Context:
        return Context(
            tail="positive", sample="top", activation=activation, tokens=("the ", word),
            activations=(0.0, activation), peak=1, sense=sense, text=f"the {word}",
            spans=((0, 4), (4, 4 + len(word))), peak_span=(4, 4 + len(word)),
        )  # fmt: skip

    return Report(
        job="job", layer=3, neuron=neuron, status=status, meaning=f"Fires for thing {neuron}.",
        senses=(Sense("positive", 0, 0.7), Sense("positive", 1, 0.3)),
        contexts=(context("weak", 1.0, 1), context("strong", 9.0, 0), context("none\n", 2.0, None)),
        evidence=(Evidence("positive", "top", 0.5, " more", sense=1),),
    )  # fmt: skip


def test_a_sheet_shows_contexts_and_no_status_and_the_key_is_apart(tmp_path: Path) -> None:
    sheets = write_sheets(tmp_path, [make_report(n) for n in range(40)], np.random.default_rng(0))

    pages = sorted(tmp_path.glob("sheets-*.md"))
    text = "".join(page.read_text() for page in pages)
    assert len(pages) == 2
    assert "polysemantic" not in text
    first = text.split("\n## ")[0]
    strongest = first.index("the **strong**")
    assert strongest < first.index("the **none⏎**") < first.index("the **weak**")
    assert "Group 2:\n\n- the **weak**\n\nfurther words:  more" in first
    assert read_key(tmp_path) == {sheet.id: sheet for sheet in sheets}


def test_some_sheets_have_another_neurons_sentence(tmp_path: Path) -> None:
    sheets = write_sheets(tmp_path, [make_report(n) for n in range(200)], np.random.default_rng(0))

    swapped = {sheet.neuron for sheet in sheets if sheet.swapped}
    strangers = {s.neuron for s in sheets if s.sentence != f"Fires for thing {s.neuron}."}
    assert strangers == swapped
    assert 10 <= len(swapped) <= 30


def test_answers_are_counted_by_kind_and_reader_with_their_agreement(tmp_path: Path) -> None:
    sheets = write_sheets(
        tmp_path,
        [make_report(n, "polysemantic" if n % 2 else "described") for n in range(20)],
        np.random.default_rng(1),
    )
    for reader, late in (("ann", 0), ("bob-1", 1)):
        lines = [
            {"id": s.id, "verdict": "wrong" if s.swapped or (late and i % 2) else "right"}
            | {"learnt": not s.swapped}
            for i, s in enumerate(sheets)
        ]
        text = "\n".join(map(json.dumps, lines))
        (tmp_path / f"answers-{reader}.jsonl").write_text(text + "\n")

    answers = read_answers(tmp_path)
    told = report(read_key(tmp_path), answers)

    assert set(answers) == {"ann", "bob"}
    claims = [s for s in sheets if s.kind == "claims"]
    assert f"| claims | ann | {len(claims)} | 1.00 (" in told
    own = [s for s in sheets if not s.swapped]
    assert f"| own sentences | ann | {len(own)} | 1.00 (" in told
    missed = sum(bool(i % 2) and not s.swapped for i, s in enumerate(sheets))
    assert f"agree on {1 - missed / 20:.2f}" in told


def test_an_unknown_verdict_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers-ann.jsonl").write_text('{"id": "0000", "verdict": "maybe"}\n')

    with pytest.raises(ValueError, match="maybe"):
        read_answers(tmp_path)
