from __future__ import annotations

import io
from itertools import accumulate
from typing import Any

import pytest
from rich.console import Console, Group

from polyseme.commands.show import context_line, count_statuses, neuron_block, shade, visible
from polyseme.reading import read
from polyseme.reports import Context, Report
from tests.client.wire import grouped_report, neuron_report


def report(**changed: Any) -> Report:
    return read(Report, neuron_report(**changed))


def printed(renderable: object, **options: object) -> str:
    file = io.StringIO()
    Console(file=file, width=120, **options).print(renderable, highlight=False)  # type: ignore[arg-type]
    return file.getvalue()


def test_the_peak_is_marked_without_colour() -> None:
    line = printed(context_line(report().contexts[0]))
    assert line == "     4.00  In the⟦ beginning⟧⏎ God\n"


def test_tokens_are_shaded_by_their_share_of_the_peak() -> None:
    line = context_line(report().contexts[0])
    shades = {line.plain[s.start : s.end]: s.style for s in line.spans}
    assert shades == {
        "⟦ beginning⟧": "black on rgb(255,125,30)",  # 1.0
        "⏎": "black on rgb(255,208,150)",  # 0.25
        " God": "black on rgb(255,180,110)",  # 0.5
    }


def test_a_special_token_is_marked_and_pieces_of_a_sign_are_one() -> None:
    context = Context(
        "positive", "top", 2.0, ("[CLS]", "<0xE6>", "<0x97>", "<0xA5>"), (0.0, 1.0, 2.0, 0.5), 2,
        text="日", peak_span=(0, 1), spans=(None, (0, 1), (0, 1), (0, 1)), special=(0,),
    )  # fmt: skip
    assert context_line(context).plain == "     2.00  ‹[CLS]›⟦日⟧"


def test_a_negative_peak_shades_negative_tokens() -> None:
    assert shade(-4.0, -4.0) == shade(4.0, 4.0) != ""
    assert shade(4.0, -4.0) == ""


@pytest.mark.parametrize("activation", [0.0, 0.3, -1.0])
def test_what_is_weak_or_of_the_other_sign_is_not_shaded(activation: float) -> None:
    assert shade(activation, 4.0) == ""


def test_colours_reach_a_terminal() -> None:
    assert "\x1b[" in printed(neuron_block(report()), force_terminal=True, color_system="truecolor")


def test_a_sense_says_its_language_unless_it_is_latin_letters_alone() -> None:
    senses = grouped_report()["senses"]
    spoken = [{"language": "de", "share": 0.8}, {"language": "en", "share": 0.2}]
    first = senses[0] | {"languages": spoken}
    second = senses[1] | {"languages": [{"language": "Latin", "share": 1.0}]}

    text = printed(neuron_block(read(Report, grouped_report(senses=[first, second]))))

    assert "  language: de 80 %, en 20 %\n" in text
    assert text.count("language") == 1


def test_a_neuron_shows_what_it_means_and_its_senses() -> None:
    text = printed(neuron_block(read(Report, grouped_report())))
    assert "layer 3, neuron 7" in text
    assert "active on 12% of tokens" in text
    assert "Fires in this text for two unrelated things" in text
    assert (
        "polysemantic: polysemanticity 0.32 (0.10 to 0.50), higher than that of 71% of control "
        "units, 90% of its firing is in senses" in " ".join(text.split())
    )
    assert "promotes  “ start”" in text
    senses = text[text.index("sense 1, 72% of its firing") :]
    assert senses.index("  4.00  ") < senses.index("sense 2, 18%") < senses.index("  1.00  ")


def test_the_strongest_contexts_come_first_in_a_sense_or_not() -> None:
    found = grouped_report()
    loose = found["contexts"][0] | {"activation": 9.0, "sample": "activation"}
    found["contexts"] = [*found["contexts"], loose]

    text = printed(neuron_block(read(Report, found), contexts=1))

    assert text.index("strongest") < text.index("  9.00  ") < text.index("sense 1, 72%")
    assert text.count("  4.00  ") == 1


def test_a_sense_has_its_name() -> None:
    found = grouped_report()
    found["senses"] = [found["senses"][0] | {"name": "the word “beginning”"}]

    assert "sense 1, 72% of its firing: the word “beginning”" in printed(
        neuron_block(read(Report, found))
    )


def test_a_sense_says_how_it_stands() -> None:
    senses = [
        {"tail": "positive", "sense": n, "share": 0.5, "sure": not n, "broad": 0, "contexts": [n]}
        for n in (0, 1)
    ]
    evidence = [{"tail": "positive", "sample": "top", "activation": 1.0, "token": "a"}] * 3

    text = printed(neuron_block(read(Report, grouped_report(senses=senses, evidence=evidence))))

    assert "sense 1, 45% of its firing\n" in text
    assert "sense 2, 45% of its firing, tentative, akin to sense 1\n" in text
    assert "3 further contexts, kept without text\n" in text


def test_control_units_are_counted_beside_the_neurons() -> None:
    statuses = {"polysemantic": 1200, "described": 30}
    controls = {"units": 512, "statuses": {"polysemantic": 12, "described": 500}}

    assert count_statuses({"statuses": statuses}) == "1,200 polysemantic, 30 described"
    assert count_statuses({"statuses": statuses, "controls": controls}) == (
        "1,200 polysemantic, 30 described; of 512 control units 12 polysemantic, 500 described"
    )


def test_a_neuron_that_is_not_finite_has_no_numbers() -> None:
    text = printed(neuron_block(report(status="not_finite", stats={"n_tokens": 640})))
    assert "layer 3, neuron 7" in text
    assert "active on" not in text


def test_a_neuron_without_senses_shows_its_strongest_contexts() -> None:
    text = printed(neuron_block(report(), contexts=1))
    assert "Senses were not asked for." in text
    assert text.count("⟦") == 1


def test_an_encoder_has_no_promoted_tokens() -> None:
    assert "promotes" not in printed(neuron_block(report(logits=None)))


def test_markup_in_tokens_is_shown_as_it_is() -> None:
    marked = report(logits={"promoted": [{"token": "[bold]", "logit": 1.0}]})
    assert "“[bold]”" in printed(neuron_block(marked))


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert visible("a\x1b[2Jb\x07\n\tc") == "a·[2Jb·⏎ c"


def test_the_peak_of_a_long_context_stays_on_a_narrow_line() -> None:
    tokens = [" considerable"] * 30 + [" peak"] + [" after"] * 30
    activations = (*[0.0] * 30, 2.0, *[0.0] * 30)
    ends = list(accumulate(map(len, tokens)))
    spans = tuple(zip([0, *ends[:-1]], ends, strict=True))
    context = Context(
        "positive", "top", 2.0, tuple(tokens), activations, 30, text="".join(tokens), spans=spans
    )
    file = io.StringIO()
    Console(file=file, width=80).print(Group(context_line(context)))
    assert file.getvalue().count("\n") == 1
    assert file.getvalue().startswith(
        "     2.00   considerable considerable considerable⟦ peak⟧ after"
    )
