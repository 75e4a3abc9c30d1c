"""Neurons on a terminal: senses, and contexts with tokens shaded by activation.

Decides the look; prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from polyseme.records import Activations, TextToken
from polyseme.reports import Context, Logit, Report, Scores

_WEAKEST = 0.08  # of the peak's activation; below it a token is not shaded
_NEWLINE = "⏎"
_CHARACTERS_BEFORE = 44  # of the peak, so that the peak stays on a line of 80 columns
_TOKENS_AFTER = 8


def neuron_block(report: Report, *, contexts: int = 3) -> RenderableType:
    """A few lines about one neuron: what it means, then its senses with up to `contexts` contexts
    each.

    Without senses: its strongest contexts.
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
    for sense in senses:
        lines.append(Text(f"  sense {sense.sense + 1}, {sense.share:.0%} of its firing", "bold"))
        lines += [context_line(c) for c in report.contexts_of(sense)[:contexts]]
    if not senses:
        lines += [context_line(c) for c in top_contexts(report)[:contexts]]
    return Group(*lines, Text())


def count_statuses(summary: Mapping[str, Any]) -> str:
    """A job's neurons by status."""
    counts = [
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in summary["statuses"].items()
        if count
    ]
    return ", ".join(counts)


def checked_block(check: Activations) -> RenderableType:
    """What neurons do in a text: its tokens shaded, then each peak with its sense."""
    lines: list[Text] = []
    for neuron in check.neurons:
        lines.append(Text(f"layer {neuron.layer}, neuron {neuron.neuron}", "bold"))
        lines.append(_checked_text(check.tokens, neuron.activations))
        for peak in neuron.peaks:
            token = visible(check.tokens[peak.token].token)
            name = (
                f"sense {peak.sense + 1} ({peak.name})" if peak.sense is not None else "in no sense"
            )
            lines.append(Text(f"  {peak.activation:7.2f}  ⟦{token}⟧  {name}"))
        if not neuron.peaks:
            lines.append(Text("  It does not fire in this text."))
    return Group(*lines, Text(visible(check.note or "")))


def _checked_text(tokens: Sequence[TextToken], activations: Sequence[float | None]) -> Text:
    strongest = max((abs(a) for a in activations if a is not None), default=0.0)
    line = Text("  ")
    for token, activation in zip(tokens, activations, strict=True):
        line.append(visible(token.token), shade(abs(activation or 0.0), strongest))
    return line


def _score_line(status: str, scores: Scores) -> Text:
    text = f"  {status.replace('_', ' ')}"
    if scores.score is not None and scores.interval is not None:
        low, high = scores.interval
        text += f": polysemanticity {scores.score:.2f} ({low:.2f} to {high:.2f})"
    if scores.coverage is not None:
        text += f", {scores.coverage:.0%} of its firing is in senses"
    return Text(f"{text}, at alpha {scores.alpha:g}")


def top_contexts(report: Report) -> list[Context]:
    return [c for c in report.contexts if c.tail == "positive" and c.sample == "top"]


def context_line(context: Context) -> Text:
    """One line: tokens shaded by their share of the peak's activation, the peak itself between ⟦
    and ⟧.
    """
    peak = context.peak
    strongest = context.activations[peak] or 0.0
    line = Text(f"  {context.activation:7.2f}  ", no_wrap=True, overflow="ellipsis", end="\n")
    last = min(peak + _TOKENS_AFTER, len(context.tokens) - 1)
    for i in range(_first_shown(context.tokens, peak), last + 1):
        token = visible(context.tokens[i])
        style = shade(context.activations[i] or 0.0, strongest)
        line.append(f"⟦{token}⟧" if i == peak else token, style)
    return line


def _first_shown(tokens: Sequence[str], peak: int) -> int:
    """The earliest token with which the text before the peak still fits."""
    first, room = peak, _CHARACTERS_BEFORE
    while first > 0 and len(tokens[first - 1]) <= room:
        first -= 1
        room -= len(tokens[first])
    return first


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
    return "".join(c if c.isprintable() else "·" for c in shown)


def _token_line(name: str, tokens: Sequence[Logit]) -> Text:
    shown = "  ".join(f"“{visible(t.token)}”" for t in tokens[:8])
    return Text(f"  {name}  {shown}", no_wrap=True, overflow="ellipsis")
