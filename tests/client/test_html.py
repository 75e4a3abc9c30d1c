from __future__ import annotations

from html.parser import HTMLParser

from polyseme.html import activations_html, job_html, neurons_html, report_html
from polyseme.reading import read
from polyseme.records import Activations, Job
from polyseme.reports import NeuronRow, Report
from tests.client.wire import grouped_report, job_state, neuron_report

EVIL = "<script>alert('x')</script>\"&"


class Outline(HTMLParser):
    """The text of a page and its elements. Fails where elements do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self._open = "", [], []  # type: ignore[var-annotated]
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_neuron_shows_its_sentence_its_senses_and_shaded_contexts() -> None:
    page = read(Report, grouped_report())._repr_html_()
    assert page is not None

    outline = Outline(page)
    assert outline.text.index("Fires in this text for two unrelated things") < outline.text.index(
        "sense 1"
    )
    numbers = "polysemanticity 0.32 (0.10 to 0.50), higher than that of 71% of control units, 90%"
    assert numbers in outline.text
    assert "width:72.0%" in page
    assert "width:18.0%" in page
    assert "In the beginning⏎\n God" in outline.text
    assert 'background:#d9822baa;outline:1px solid currentColor" title="4.000"> beginning<' in page


def test_a_sense_says_how_it_stands() -> None:
    senses = [
        {"tail": "positive", "sense": n, "share": 0.5, "sure": not n, "broad": 0, "contexts": [n]}
        for n in (0, 1)
    ]
    evidence = [{"tail": "positive", "sample": "top", "activation": 1.0, "token": "a"}] * 3

    text = Outline(report_html(read(Report, grouped_report(senses=senses, evidence=evidence)))).text

    assert "sense 2  45% tentative akin to sense 1" in text
    assert text.count("tentative") == 1
    assert "3 further contexts, kept without text" in text


def test_a_sense_says_its_language_unless_it_is_latin_letters_alone() -> None:
    def shown(*languages: tuple[str, float]) -> str:
        named = [{"language": name, "share": share} for name, share in languages]
        sense = {"tail": "positive", "sense": 0, "share": 1.0, "contexts": [0], "languages": named}
        return Outline(report_html(read(Report, grouped_report(senses=[sense])))).text

    assert "language: de 80 %, Latin 20 %" in shown(("de", 0.8), ("Latin", 0.2))
    assert "language: Han 100 %" in shown(("Han", 1.0))
    assert "language" not in shown(("Latin", 1.0))
    assert "language" not in shown()


def test_the_strongest_context_comes_before_the_senses_in_one_or_not() -> None:
    found = grouped_report()
    loose = found["contexts"][0] | {"activation": 9.0, "sample": "activation"}
    found["contexts"] = [*found["contexts"], loose]

    text = Outline(report_html(read(Report, found))).text

    assert text.index("strongest") < text.index("9.00") < text.index("sense 1")


def test_a_neuron_without_senses_shows_its_strongest_contexts() -> None:
    assert (
        "4.00 In the beginning⏎\n God" in Outline(report_html(read(Report, neuron_report()))).text
    )


def test_nothing_of_a_report_becomes_markup() -> None:
    places = {"spans": [[0, len(EVIL)], None, None, None, None], "peak_span": None, "special": [0]}
    context = neuron_report()["contexts"][0] | {"tokens": [EVIL] * 5, "text": EVIL} | places
    sense = {
        "tail": "positive",
        "sense": 0,
        "share": 1.0,
        "contexts": [0],
        "tokens": [{"token": EVIL}],
    }
    logits = {"promoted": [{"token": EVIL}], "suppressed": [{"token": EVIL}]}
    negative = {"status": "polysemantic", "meaning": EVIL}
    report = grouped_report(
        meaning=EVIL,
        model=EVIL,
        status=EVIL,
        contexts=[context],
        senses=[sense],
        logits=logits,
        negative=negative,
    )

    page = report_html(read(Report, report))

    assert set(Outline(page).tags) == {"div", "b", "span", "bdi"}
    assert Outline(page).text.count(EVIL) >= 9


def test_nothing_of_a_job_a_row_or_a_text_becomes_markup() -> None:
    job = job_state(
        status="failed", error={"code": "c", "detail": EVIL}, id=EVIL, request={"model": EVIL}
    )
    row = NeuronRow(layer=1, neuron=2, peak_token=EVIL, status=EVIL)
    neuron = {
        "layer": 1,
        "neuron": 2,
        "activations": [2.0, -1.0],
        "peaks": [{"token": 0, "tail": "positive", "activation": 2.0, "sense": 0, "name": EVIL}],
    }
    text = {
        "id": "a",
        "status": "succeeded",
        "text": EVIL,
        "tokens": [{"token": EVIL}, {"token": EVIL, "char_span": [0, len(EVIL)]}],
        "neurons": [neuron],
        "note": EVIL,
    }

    pages = (
        job_html(read(Job, job)),
        neurons_html([row], 5),
        activations_html(read(Activations, text)),
    )

    for page in pages:
        assert "script" not in Outline(page).tags
        assert EVIL in Outline(page).text
