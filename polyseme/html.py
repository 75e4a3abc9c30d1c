"""Records as HTML for a notebook.

No scripts and no styles but inline ones; every text of the service is escaped.

Colours are see-through, so that they serve on a light page and on a dark one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from polyseme.contract.plurals import counted
from polyseme.reading import to_html
from polyseme.records import Activations, Job, TextNeuron, TextPeak
from polyseme.reports import TABLE_COLUMNS, Context, NeuronRow, Piece, Report, Sense

_NEWLINE = "⏎"
_SHOWN = 5  # contexts of a sense, and of a neuron without one
_FIRST = 3  # the strongest ones, above the senses
_BEFORE, _AFTER = 16, 12  # pieces around a peak
_COLOURS = ("#d9822b", "#3b82c4", "#3f9b5f", "#a259b5", "#c2484d", "#7d8a2e", "#2f9c9c", "#8a6d5a")
_BOX = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;color:inherit"
_MARK = "opacity:.6;border:1px solid currentColor;border-radius:3px;padding:0 3px;font-size:.85em"
_JOINERS = "\u200c\u200d"  # they shape letters and emoji, and show nothing of their own
_CONTEXT = (
    "font-family:ui-monospace,monospace;font-size:12px;white-space:pre-wrap;"
    "overflow-wrap:anywhere;margin:2px 0"
)


@to_html.register
def job_html(job: Job) -> str:
    done = 1.0 if job.succeeded else job.progress.fraction or 0.0
    note = job.error.detail if job.error else job.warning or ""
    total = job.progress.tokens_total
    tokens = f"{job.progress.tokens_done:,} of {total:,} tokens" if total else ""
    return (
        f'<div style="{_BOX}"><b>{escape(job.id)}</b> {escape(job.status)}'
        f" ({escape(str(job.request.get('model', '')))}) {_bar(done, _COLOURS[1])} {tokens}"
        f"<div>{escape(note)}</div></div>"
    )


def neurons_html(rows: Sequence[NeuronRow], total: int | None) -> str:
    columns = [c for c in TABLE_COLUMNS if any(getattr(row, c) is not None for row in rows)]
    head = "".join(f"<th>{escape(c.replace('_', ' '))}</th>" for c in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(getattr(row, c))}</td>' for c in columns)}</tr>" for row in rows
    )
    size = (
        f"{len(rows):,} of {counted(total, 'neuron')}"
        if total is not None
        else counted(len(rows), "neuron")
    )
    table = (
        f'<table style="font-size:inherit"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    return f'<div style="{_BOX}">{table}{size}</div>'


@to_html.register
def report_html(report: Report) -> str:
    """The plain sentence first, then the strongest contexts, then the senses side by side."""
    senses = "".join(_sense(report, s) for s in report.senses)
    return (
        f'<div style="{_BOX}"><div><b>layer {report.layer}, neuron {report.neuron}</b> of '
        f"{escape(report.model)}"
        f' <span style="opacity:.7">{escape(_numbers(report))}</span></div>'
        f'<div style="font-size:15px;margin:4px '
        f'0">{_sentence(report.meaning)}</div>{_negative(report)}'
        f"{_strongest(report)}{_shares(report)}"
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{senses}</div>'
        f"{_further(report)}{_logits(report)}</div>"
    )


@to_html.register
def activations_html(check: Activations) -> str:
    if check.status != "succeeded":
        why = check.error.detail if check.error else ""
        return (
            f'<div style="{_BOX}"><b>{escape(check.id)}</b> {escape(check.status)} '
            f"{escape(why)}</div>"
        )
    neurons = "".join(_text_neuron(check, n) for n in check.neurons)
    return f'<div style="{_BOX}">{neurons}<div>{escape(check.note or "")}</div></div>'


def _text_neuron(check: Activations, neuron: TextNeuron) -> str:
    largest = max((abs(a) for a in neuron.activations if a is not None), default=0.0)
    text = "".join(
        _piece(piece, -largest if (piece.activation or 0) < 0 else largest, _tail_colour(piece))
        for piece in check.pieces(neuron)
    )
    peaks = "".join(
        f"<li><bdi>{escape(check.read(p.token))}</bdi> {p.activation:.2f}: "
        f"{escape(_in_sense(p))}</li>"
        for p in neuron.peaks
        if p.token < len(check.tokens)
    )
    head = f"<b>layer {neuron.layer}, neuron {neuron.neuron}</b>"
    return f'<div>{head}<div dir="auto" style="{_CONTEXT}">{text}</div><ul>{peaks}</ul></div>'


def _in_sense(peak: TextPeak) -> str:
    same = "" if peak.same is None else f", {peak.same:.0%} sure"
    if peak.sense is None:
        return f"in no sense{same and f' (nearest{same})'}"
    return f"sense {peak.sense + 1} ({peak.name or 'no name'}){same}"


def _numbers(report: Report) -> str:
    parts = [report.status.replace("_", " ")]
    if (scores := report.polysemanticity) and scores.score is not None:
        low, high = scores.interval or (scores.score, scores.score)
        parts.append(f"polysemanticity {scores.score:.2f} ({low:.2f} to {high:.2f})")
        parts += [scores.beside_controls] if scores.beside_controls else []
    if scores and scores.coverage is not None:
        parts.append(f"{scores.coverage:.0%} of its firing is in senses")
    if report.stats.density is not None:
        parts.append(f"active on {report.stats.density:.1%} of tokens")
    return ", ".join(parts)


def _negative(report: Report) -> str:
    if report.negative is None or not report.negative.meaning:
        return ""
    return (
        f'<div style="opacity:.8">Where it is negative: {_sentence(report.negative.meaning)}</div>'
    )


def _sentence(meaning: str) -> str:
    """What is quoted runs in its own direction, and leaves that of the sentence alone."""
    return re.sub("“([^”]*)”", r"“<bdi>\1</bdi>”", escape(meaning))


def _strongest(report: Report) -> str:
    shown = report.strongest()[: _FIRST if report.senses else _SHOWN]
    contexts = "".join(_context(c, _COLOURS[(c.sense or 0) % len(_COLOURS)]) for c in shown)
    return f"<div><b>strongest</b>{contexts}</div>" if contexts else ""


def _shares(report: Report) -> str:
    """One bar of a tail's senses, and behind them what is in none."""
    bars = ""
    for tail in ("positive", "negative"):
        senses = [s for s in report.senses if s.tail == tail]
        parts = "".join(
            f'<div style="width:{100 * report.firing_share(s):.1f}%;background:{_colour(s)}"'
            f' title="sense {s.sense + 1}, {report.firing_share(s):.0%}"></div>'
            for s in senses
        )
        bars += (
            f'<div style="display:flex;height:8px;max-width:720px;margin:4px 0">{parts}</div>'
            if senses
            else ""
        )
    return bars


def _sense(report: Report, sense: Sense) -> str:
    texts = dict.fromkeys((t.text or t.token).strip() for t in sense.tokens)
    tokens = ", ".join(f"“<bdi>{escape(_visible(text))}</bdi>”" for text in list(texts)[:6])
    contexts = "".join(_context(c, _colour(sense)) for c in report.contexts_of(sense)[:_SHOWN])
    tail, share = " (negative)" * (sense.tail == "negative"), report.firing_share(sense)
    return (
        f'<div style="flex:1 1 260px;max-width:480px;border-left:3px solid '
        f'{_colour(sense)};padding-left:8px">'
        f"<b>sense {sense.sense + 1}{tail}</b> {_bar(share, _colour(sense))} "
        f"{share:.0%}{_standing(report, sense)}"
        f"<div>{_sentence(sense.name)}</div>{_spoken(sense)}"
        f'<div style="opacity:.7">{tokens}</div>{contexts}</div>'
    )


def _spoken(sense: Sense) -> str:
    if not sense.spoken:
        return ""
    return f'<div style="opacity:.7">language: <bdi>{escape(_visible(sense.spoken))}</bdi></div>'


def _standing(report: Report, sense: Sense) -> str:
    kin = report.find_kin(sense)
    words = [
        "" if sense.sure else "tentative",
        "" if kin is None else f"akin to sense {kin.sense + 1}",
    ]
    return "".join(f' <span style="opacity:.7">{word}</span>' for word in words if word)


def _context(context: Context, colour: str) -> str:
    pieces = context.pieces()
    peak = next(i for i, piece in enumerate(pieces) if piece.is_peak)
    text = "".join(
        _piece(piece, context.activation, colour)
        for piece in pieces[max(peak - _BEFORE, 0) : peak + _AFTER + 1]
    )
    size = f'<bdi style="opacity:.6">{context.activation:.2f}</bdi>'
    return f'<div dir="auto" style="{_CONTEXT}">{size} {text}</div>'


def _piece(piece: Piece, peak: float, colour: str) -> str:
    """Shaded by its share of the peak's activation; nothing of the other sign. A special token has
    its name in a frame.
    """
    activation = piece.activation or 0.0
    share = min(max(activation / peak, 0.0), 1.0) if peak else 0.0
    styles = [f"background:{colour}{round(170 * share):02x}"] if share >= 0.08 else []
    styles += ["outline:1px solid currentColor"] if piece.is_peak else []
    styles += [_MARK] if piece.is_mark else []
    text = escape(_visible(piece.text) if piece.is_mark else _broken(piece.text))
    if not styles:
        return text
    return f'<span style="{";".join(styles)}" title="{activation:.3f}">{text}</span>'


def _tail_colour(piece: Piece) -> str:
    return _COLOURS[0 if (piece.activation or 0) >= 0 else 1]


def _further(report: Report) -> str:
    if not report.evidence:
        return ""
    return (
        f'<div style="opacity:.8;margin-top:4px">'
        f"{counted(len(report.evidence), 'further context')}, kept without text</div>"
    )


def _logits(report: Report) -> str:
    if report.logits is None:
        return ""
    sides = (("promotes", report.logits.promoted), ("suppresses", report.logits.suppressed))
    lines = (
        f"<div>{name} {', '.join(f'“{escape(_visible(e.token))}”' for e in entries[:8])}</div>"
        for name, entries in sides
        if entries
    )
    return f'<div style="opacity:.8;margin-top:4px">{"".join(lines)}</div>'


def _bar(share: float, colour: str) -> str:
    percent = 100 * min(max(share, 0.0), 1.0)
    return (
        '<span style="display:inline-block;width:80px;height:8px;background:rgba(128,128,128,.25)">'
        f'<span style="display:block;height:8px;width:{percent:.0f}%;background:{colour}"></span>'
        "</span>"
    )


def _colour(sense: Sense) -> str:
    return _COLOURS[sense.sense % len(_COLOURS)]


def _cell(value: Any) -> str:
    return escape(
        f"{value:.3f}"
        if isinstance(value, float)
        else ""
        if value is None
        else _visible(str(value))
    )


def _visible(text: str) -> str:
    shown = text.replace("\r", "").replace("\n", _NEWLINE).replace("\t", " ")
    return "".join(_printable(shown))


def _broken(text: str) -> str:
    """Likewise, with lines that end where they do: "\r\n", "\r" and "\n" alike."""
    lines = re.split(r"\r\n|[\r\n]", text.replace("\t", "    "))
    return f"{_NEWLINE}\n".join("".join(_printable(line)) for line in lines)


def _printable(text: str) -> Iterable[str]:
    return (c if c.isprintable() or c in _JOINERS else "·" for c in text)
