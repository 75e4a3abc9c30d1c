"""Shares of statuses as bars, one a group of units. SVG by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

_LEFT, _TOP, _WIDTH, _ROW, _BAR = 190, 34, 480, 34, 20  # pixels
_COLOURS = {"monosemantic": "#0b5fa5", "polysemantic": "#c2570c", "described": "#cccccc"}


def draw_statuses(groups: Mapping[str, Mapping[str, float]]) -> str:
    """groups: by name, the shares of its units, 0..1; what has no colour is left white."""
    height = _TOP + len(groups) * _ROW + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_legend(),
    ]
    for row, (name, shares) in enumerate(groups.items()):
        parts += _bar(_TOP + row * _ROW, name, shares)
    return "\n".join([*parts, "</svg>\n"])


def _legend() -> Iterator[str]:
    for place, (status, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + place * 130
        yield f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="18">{status}</text>'


def _bar(top: int, name: str, shares: Mapping[str, float]) -> Iterator[str]:
    middle, x = top + _BAR // 2 + 4, float(_LEFT)
    yield f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>'
    for status, colour in _COLOURS.items():
        width = _WIDTH * shares.get(status, 0.0)
        yield f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        if width > 40:
            ink = "#222222" if status == "described" else "#ffffff"
            label = f"{100 * shares[status]:.0f} %"
            yield f'<text x="{x + 6:.1f}" y="{middle}" fill="{ink}">{label}</text>'
        x += width
