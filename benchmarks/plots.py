"""How cost grows with size, as SVG that reads in light and in dark; no library is needed to write it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.peers import PEERS
from benchmarks.report import Results, quantity
from benchmarks.rows import ROWS

_PANEL_WIDTH: Final = 270
_PANEL_HEIGHT: Final = 190
_COLUMNS: Final = 4
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 26
_LEGEND_HEIGHT: Final = 62

# Hues that stay apart for most colour-blind readers, on white and on near-black; who is like whom shares a hue.
_STYLE: Final = """
text { font: 11px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 12px; fill: #1f2328 }
.grid { stroke: #d0d7de; stroke-width: .6 } .frame { fill: #f6f8fa }
.line { fill: none; stroke-width: 1.3; stroke-linejoin: round } .dot { stroke: none }
.own { stroke-width: 3.2 } .hand { stroke-dasharray: 5 3; stroke-width: 1.8 }
.c0 { --c: #d1242f } .c1 { --c: #1f2328 } .c2 { --c: #8c959f } .c3 { --c: #9a6700 } .c4 { --c: #bf3989 }
.c5 { --c: #e16f24 } .c6 { --c: #8250df } .c7 { --c: #0969da } .c8 { --c: #54aeff } .c9 { --c: #1a7f37 }
.c10 { --c: #4ac26b } .c11 { --c: #6f8f00 }
.line { stroke: var(--c) } .dot { fill: var(--c) }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #3d444d } .frame { fill: #151b23 }
.background { fill: #0d1117 }
.c0 { --c: #ff7b72 } .c1 { --c: #f0f6fc } .c2 { --c: #9198a1 } .c3 { --c: #d29922 } .c4 { --c: #f778ba }
.c7 { --c: #4493f8 } .c8 { --c: #a5d6ff } .c6 { --c: #ab7df8 } .c9 { --c: #3fb950 } .c10 { --c: #7ee787 }
.c11 { --c: #b5c94c }
}
"""
_ORDER: Final = ("Connectome", "hand", "raw", *(name for name in PEERS if name not in ("Connectome", "hand", "raw")))

_QUESTIONS: Final = tuple(name for name, row in ROWS.items() if row.kind in ("cold", "warm"))
_REST: Final = ("update", "insert-1", "delete", "open", "memory")


def write(results: Results, directory: Path) -> list[Path]:
    """
    Write the plots; those of which there is more than one size, since a point shows no growth.

    Returns:
        The files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rows in (("questions", _QUESTIONS), ("writes", _REST)):
        panels = {row: series for row in rows if (series := _series(results, row))}
        if panels:
            path = directory / f"{name}.svg"
            path.write_text(_figure(panels))
            written.append(path)
    return written


Series = dict[str, list[tuple[int, float]]]


def _series(results: Results, row: str) -> Series:
    """The points of each peer that has more than one: size and cost."""
    series: Series = {}
    for size, figures in sorted(results.sizes.items()):
        for name, figure in figures.get(row, {}).items():
            if figure.cost and figure.cost > 0:
                series.setdefault(name, []).append((size, figure.cost))
    return {name: series[name] for name in _ORDER if len(series.get(name, ())) > 1}


def _figure(panels: Mapping[str, Series]) -> str:
    columns = min(_COLUMNS, len(panels))
    width = max(columns * _PANEL_WIDTH, 2 * _PANEL_WIDTH)
    names = [name for name in _ORDER if any(name in series for series in panels.values())]
    height = _LEGEND_HEIGHT + math.ceil(len(panels) / columns) * _PANEL_HEIGHT
    drawn = [
        _panel(row, series, (position % columns) * _PANEL_WIDTH, _LEGEND_HEIGHT + position // columns * _PANEL_HEIGHT)
        for position, (row, series) in enumerate(panels.items())
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>How cost grows with the number of documents; lower is better</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="background" width="{width}" height="{height}" fill="none"/>',
            *_legend(names, width),
            *drawn,
            "</svg>\n",
        ]
    )


def _legend(names: Sequence[str], width: float) -> list[str]:
    parts = ['<text x="10" y="18">cost by number of documents, both logarithmic: lower is better</text>']
    x, y = 10.0, 36
    for name in names:
        length = 34 + 6.6 * len(_label(name))
        if x + length > width:
            x, y = 10.0, y + 17
        parts.append(f'<path d="M{x:.0f} {y}h20" class="{_classes(name)}"/>')
        parts.append(f'<text x="{x + 25:.0f}" y="{y + 4}">{escape(_label(name))}</text>')
        x += length + 8
    return parts


def _label(name: str) -> str:
    return {"raw": "append + fdatasync"}.get(name, name)


def _round_cost(row: str, power: int) -> str:
    """A power of ten of the cost of a row."""
    if ROWS[row].shown == "bytes":
        return f"{10**power // 1000} kB" if power >= 3 else f"{10**power} B"
    return quantity("time", 10.0**power) if power >= -6 else f"{10 ** (power + 9)} ns"


def _classes(name: str) -> str:
    kind = {"Connectome": " own", "hand": " hand"}.get(name, "")
    return f"line c{_ORDER.index(name)}{kind}"


def _panel(row: str, series: Series, left: float, top: float) -> str:
    sizes = sorted({size for points in series.values() for size, _ in points})
    costs = [cost for points in series.values() for _, cost in points]
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    high = max(high, low + 1)
    width, height = _PANEL_WIDTH - _LEFT - _RIGHT, _PANEL_HEIGHT - _TOP - _BOTTOM

    def x(size: float) -> float:
        span = math.log10(sizes[-1] / sizes[0])
        return left + _LEFT + math.log10(size / sizes[0]) / span * width

    def y(cost: float) -> float:
        return top + _TOP + (high - math.log10(cost)) / (high - low) * height

    step = math.ceil((high - low) / 5)
    parts = [
        f'<rect class="frame" x="{left + _LEFT}" y="{top + _TOP}" width="{width}" height="{height}"/>',
        f'<text class="title" x="{left + 8}" y="{top + _TOP - 9}">{escape(ROWS[row].title)}</text>',
    ]
    for power in range(low, high + 1, step):
        at = y(10.0**power)
        parts.append(f'<path class="grid" d="M{left + _LEFT} {at:.1f}h{width}"/>')
        text = _round_cost(row, power)
        parts.append(f'<text x="{left + _LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    for size in sizes:
        anchor = "start" if size == sizes[0] else "end" if size == sizes[-1] else "middle"
        text = f"{size / 1e6:g}M" if size >= 1_000_000 else f"{size / 1e3:g}k" if size >= 1000 else str(size)
        parts.append(f'<text x="{x(size):.1f}" y="{top + _PANEL_HEIGHT - 10}" text-anchor="{anchor}">{text}</text>')
    # Ours last, on top of the others.
    for name, points in reversed(series.items()):
        path = "L".join(f"{x(size):.1f} {y(cost):.1f}" for size, cost in points)
        parts.append(f'<path class="{_classes(name)}" d="M{path}"/>')
        radius = 3.2 if name == "Connectome" else 2
        dot = f'class="dot c{_ORDER.index(name)}" r="{radius}"'
        parts += [f'<circle {dot} cx="{x(size):.1f}" cy="{y(cost):.1f}"/>' for size, cost in points]
    return "\n".join(parts)
