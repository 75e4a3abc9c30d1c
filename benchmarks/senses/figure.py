"""The exact counts of every method as a figure: a dot with its interval for each tier.

SVG by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from benchmarks.senses import metrics
from benchmarks.senses.judging import Verdict
from benchmarks.senses.methods import COUNTED, Methods

_LEFT, _TOP, _PANEL, _GAP, _ROW, _BOTTOM = 200, 40, 150, 24, 24, 44  # pixels
_OWN, _OTHER = "#0b5fa5", "#777777"


def draw_figure(methods: Methods) -> str:
    """A panel a tier, a row a method; the axis is the share of units whose count is right."""
    width = _LEFT + len(COUNTED) * (_PANEL + _GAP)
    height = _TOP + len(methods) * _ROW + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" '
        'font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_names(methods),
    ]
    for i, tier in enumerate(COUNTED):
        parts += _panel(tier, _LEFT + i * (_PANEL + _GAP), methods)
    parts.append(
        _text(
            _LEFT, height - 8, "share of units whose number of senses is right, with 95 % intervals"
        )
    )
    return "\n".join([*parts, "</svg>\n"])


def _names(methods: Methods) -> Iterator[str]:
    for i, name in enumerate(methods):
        yield _text(_LEFT - 12, _middle(i) + 4, name, "end")


def _panel(tier: str, left: int, methods: Methods) -> Iterator[str]:
    bottom = _TOP + len(methods) * _ROW
    yield _text(left + _PANEL // 2, _TOP - 14, tier, "middle")
    for share in (0.0, 0.5, 1.0):
        x = left + share * _PANEL
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>'
        yield _text(round(x), bottom + 14, f"{share:g}", "middle")
    for i, verdicts in enumerate(methods.values()):
        own = [v for v in verdicts if v.unit.tier == tier]
        if own:
            colour = _OWN if own[0].scores else _OTHER
            yield from _dot(left, _middle(i), own, colour)


def _dot(left: int, y: int, verdicts: Sequence[Verdict], colour: str) -> Iterator[str]:
    right = np.array([v.count == v.unit.senses for v in verdicts], float)
    low, high = metrics.interval(lambda drawn: float(right[drawn].mean()), len(right))
    a, x, b = (left + value * _PANEL for value in (low, float(right.mean()), high))
    yield f'<line x1="{a:.1f}" y1="{y}" x2="{b:.1f}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    yield f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{colour}"/>'


def _middle(row: int) -> int:
    return _TOP + row * _ROW + _ROW // 2


def _text(x: int, y: int, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#222222">{escape(words)}</text>'
