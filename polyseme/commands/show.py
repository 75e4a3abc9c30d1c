"""Neurons on a terminal: senses, and contexts with tokens shaded by activation.

Decides the look; prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from polyseme.contract.plurals import counted
from polyseme.records import Activations, TextNeuron
from polyseme.reports import Context, Logit, Piece, Report, Scores, Sense

_WEAKEST = 0.08  # of the peak's activation; below it a token is not shaded
_NEWLINE = "⏎"
_JOINERS = "\u200c\u200d"  # they shape letters and emoji, and show nothing of their own
_CHARACTERS_BEFORE = 44  # of the peak, so that the peak stays on a line of 80 columns
_CHARACTERS_AFTER = 32


def neuron_block(report: Report, *, contexts: int = 3) -> RenderableType:
    """A few lines about one neuron: what it means, its strongest contexts, then its senses with up
    to `contexts` contexts each.
    """
    head = Text(f"layer {report.layer}, neuron {report.neuron}", "bold")
    stats = report.stats
    if stats.density is not None and stats.max is not None:
        head.append(f"  active on {stats.density:.0%} of tokens, up to {stats.max:.2f}", "not bold")
    lines = [head, Text(f"  {visible(report.meaning)}", "italic")]
    if report.polysemanticity:
        lines.append(_score_line(report.status, report.polysemanticity))
    if report.logits and report.logits.promoted:
        lines.append(_token_line("promotes", report.logits.promoted))
    senses = [s for s in report.senses if s.tail == "positive"]
    if senses:
        lines.append(Text("  strongest", "bold"))
    lines += [context_line(c) for c in report.strongest()[:contexts]]
    for sense in senses:
        lines.append(_sense_line(report, sense))
        if sense.spoken:
            lines.append(Text(f"  language: {visible(sense.spoken)}"))
        lines += [context_line(c) for c in report.contexts_of(sense)[:contexts]]
    if report.evidence:
        further = counted(len(report.evidence), "further context")
        lines.append(Text(f"  {further}, kept without text"))
    return Group(*lines, Text())


def count_statuses(summary: Mapping[str, Any]) -> str:
    """A job's neurons by status, and beside them its control units."""
    controls = summary.get("controls") or {}
    counted = _count(summary["statuses"])
    if not controls.get("units"):
        return counted
    return f"{counted}; of {controls['units']:,} control units {_count(controls['statuses'])}"


def _count(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in statuses.items() if n)


def checked_block(check: Activations) -> RenderableType:
    """What neurons do in a text: its tokens shaded, then each peak with its sense."""
    lines: list[Text] = []
    for neuron in check.neurons:
        lines.append(Text(f"layer {neuron.layer}, neuron {neuron.neuron}", "bold"))
        lines.append(_checked_text(check, neuron))
        for peak in neuron.peaks:
            token = visible(check.read(peak.token))
            name = (
                f"sense {peak.sense + 1} ({peak.name})" if peak.sense is not None else "in no sense"
            )
            name += "" if peak.same is None or peak.sense is None else f", {peak.same:.0%} sure"
            lines.append(Text(f"  {peak.activation:7.2f}  ⟦{token}⟧  {name}"))
        if not neuron.peaks:
            lines.append(Text("  It does not fire in this text."))
    return Group(*lines, Text(visible(check.note or "")))


def _checked_text(check: Activations, neuron: TextNeuron) -> Text:
    strongest = max((abs(a) for a in neuron.activations if a is not None), default=0.0)
    line = Text("  ")
    for piece in check.pieces(neuron):
        line.append(_read(piece), shade(abs(piece.activation or 0.0), strongest))
    return line


def _read(piece: Piece) -> str:
    return f"‹{visible(piece.text)}›" if piece.is_mark else visible(piece.text)


def _score_line(status: str, scores: Scores) -> Text:
    text = f"  {status.replace('_', ' ')}"
    if scores.score is not None and scores.interval is not None:
        low, high = scores.interval
        text += f": polysemanticity {scores.score:.2f} ({low:.2f} to {high:.2f})"
        text += f", {scores.beside_controls}" if scores.beside_controls else ""
    if scores.coverage is not None:
        text += f", {scores.coverage:.0%} of its firing is in senses"
    return Text(text)


def _sense_line(report: Report, sense: Sense) -> Text:
    kin = report.find_kin(sense)
    line = Text(
        f"  sense {sense.sense + 1}, {report.firing_share(sense):.0%} of its firing", "bold"
    )
    line.append(f": {visible(sense.name)}" if sense.name else "", "not bold")
    line.append("" if sense.sure else ", tentative", "not bold")
    line.append("" if kin is None else f", akin to sense {kin.sense + 1}", "not bold")
    return line


def context_line(context: Context) -> Text:
    """One line: the text shaded by its share of the peak's activation, the peak itself between ⟦
    and ⟧, and the names of special tokens between ‹ and ›.
    """
    strongest = context.activations[context.peak] or 0.0
    line = Text(f"  {context.activation:7.2f}  ", no_wrap=True, overflow="ellipsis", end="\n")
    for piece in _near_peak(context.pieces()):
        text = f"⟦{_read(piece)}⟧" if piece.is_peak else _read(piece)
        line.append(text, shade(piece.activation or 0.0, strongest))
    return line


def _near_peak(pieces: Sequence[Piece]) -> list[Piece]:
    """Those before the peak that still fit, the peak, and some of what follows."""
    at = [i for i, piece in enumerate(pieces) if piece.is_peak]
    before, after = pieces[: at[0]], pieces[at[-1] + 1 :]
    fitting = _fitting(list(reversed(before)), _CHARACTERS_BEFORE)
    return [
        *reversed(fitting),
        *pieces[at[0] : at[-1] + 1],
        *_fitting(after, _CHARACTERS_AFTER),
    ]


def _fitting(pieces: Sequence[Piece], room: int) -> list[Piece]:
    """The first of the pieces, as many as have room."""
    sizes = accumulate(len(piece.text) for piece in pieces)
    return [piece for piece, size in zip(pieces, sizes, strict=True) if size <= room]


def shade(activation: float, peak: float) -> str:
    """A rich style: nothing where the neuron is silent or has the other sign, deep orange at the
    peak.
    """
    share = min(activation / peak, 1.0) if peak else 0.0
    if share < _WEAKEST:
        return ""
    return f"black on rgb(255,{round(235 - 110 * share)},{round(190 - 160 * share)})"


def visible(token: str) -> str:
    """A token on one line, without control characters."""
    shown = token.replace("\r", "").replace("\n", _NEWLINE).replace("\t", " ")
    return "".join(c if c.isprintable() or c in _JOINERS else "·" for c in shown)


def _token_line(name: str, tokens: Sequence[Logit]) -> Text:
    shown = "  ".join(f"“{visible(t.token)}”" for t in tokens[:8])
    return Text(f"  {name}  {shown}", no_wrap=True, overflow="ellipsis")
