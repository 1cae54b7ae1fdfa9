"""Small plots as SVG text, for a page that explains itself without any other file.

Colours are CSS classes that the page defines for light and dark: ``layer-0`` and so on for the
parts of a stacked bar, ``series-0`` and so on for points.  Every plot has a title for screen
readers, and bars say their numbers when pointed at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

NUM_SERIES = 6
"""How many colours of points there are; further series are gray."""
NUM_LAYERS = 4
"""How many colours of bars there are; further layers have the last one."""

_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 36
"""Margins in pixels, for the numbers on the axes."""


def series_class(index: int) -> str:
    """The CSS class of a series."""
    return f"series-{index}" if index < NUM_SERIES else "series-rest"


def layer_class(index: int) -> str:
    """The CSS class of a layer of stacked bars."""
    return f"layer-{min(index, NUM_LAYERS - 1)}"


def bars(title: str, rows: Sequence[str], layers: Sequence[str], values: np.ndarray) -> str:
    """Horizontal bars, the layers of a row stacked.

    Args:
        rows: R names, top down.
        layers: S names.
        values: (R, S) numbers, 0 or more.
    """
    row, label = 22, 130
    height = row * len(rows) + 8
    longest = max(float(values.sum(axis=1).max(initial=0)), 1e-9)
    scale = (_WIDTH - label - 60) / longest
    parts = []
    for number, (name, counts) in enumerate(zip(rows, values, strict=True)):
        y, x = 4 + row * number, float(label)
        shown = name if len(name) <= 20 else name[:19] + "…"
        parts.append(_text(label - 6, y + 14, shown, anchor="end", full=name))
        for index, count in enumerate(counts):
            width = float(count) * scale
            if width > 0:
                said = f"{name}, {layers[index]}: {_number(count)}"
                parts.append(_rectangle(x, y + 3, width, row - 6, index, said))
                x += width
        parts.append(_text(x + 5, y + 14, _number(counts.sum())))
    return _svg(title, "".join(parts), height)


def histogram(
    title: str,
    edges: Sequence[float] | np.ndarray,
    ticks: Sequence[tuple[float, str]],
    layers: Sequence[str],
    counts: np.ndarray,
    *,
    x_label: str,
    unit: str = "objects",
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Vertical bars, the layers of a bin stacked; the x axis is linear in the bin's number.

    Args:
        edges: (N + 1,) of the bins, ascending.
        ticks: (position in bins from 0 to N, text).
        layers: S names.
        counts: (N, S) whole numbers.
        x_label: what is along the axis.
        unit: what is counted.
        marks: (position in bins, what it stands for): lines from top to bottom.
    """
    num_bins = len(edges) - 1
    top = max(int(counts.sum(axis=1).max(initial=0)), 1)
    step = (_WIDTH - _LEFT - _RIGHT) / max(num_bins, 1)
    inner = _HEIGHT - _TOP - _BOTTOM
    parts = [_y_axis([(0.0, "0"), (0.5, _number(top / 2)), (1.0, _number(top))])]
    for number in range(num_bins):
        y = float(_HEIGHT - _BOTTOM)
        for index, count in enumerate(counts[number].tolist()):
            height = count / top * inner
            if height > 0:
                y -= height
                span = f"{edges[number]:.3g} to {edges[number + 1]:.3g}"
                said = f"{span}, {layers[index]}: {count} {unit}"
                x = _LEFT + number * step
                parts.append(_rectangle(x + 0.5, y, max(step - 1, 0.5), height, index, said))
    for position, said in marks:
        x = _LEFT + position * step
        line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
        parts.append(f"{line}<title>{escape(said)}</title></line>")
    parts += [_text(_LEFT + at * step, _HEIGHT - 20, text, anchor="middle") for at, text in ticks]
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 4, x_label, anchor="middle"))
    return _svg(title, "".join(parts), _HEIGHT)


def log_scatter(
    title: str,
    points: Sequence[np.ndarray],
    series: Sequence[str],
    *,
    x_label: str,
    y_label: str,
    outlines: Sequence[tuple[float, float, str]] = (),
) -> str:
    """Points on two logarithmic axes of one scale.

    Args:
        points: of each series, (N, 2) (x, y), above 0.
        series: their names.
        outlines: (x, y, what it stands for): crosses.
    """
    everything = np.concatenate(
        [np.zeros((0, 2)), *points, np.array([o[:2] for o in outlines]).reshape(-1, 2)]
    )
    if not len(everything):
        everything = np.ones((1, 2))
    low, high = np.log2(everything.min()) - 0.2, np.log2(everything.max()) + 0.2
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM + 80

    def place(values: np.ndarray) -> np.ndarray:
        share = (np.log2(values) - low) / (high - low)
        return np.stack([_LEFT + share[:, 0] * width, _TOP + (1 - share[:, 1]) * height], axis=1)

    powers = [2.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    parts = []
    for value in powers:
        ((x, y),) = place(np.array([[value, value]]))
        bottom, right = _TOP + height, _LEFT + width
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(x, bottom + 16, f"{value:g}", anchor="middle"))
        parts.append(_text(_LEFT - 6, y + 4, f"{value:g}", anchor="end"))
    for index, some in enumerate(points):
        if len(some):
            # One path of dots: a circle for each would make the page three times as large.
            dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in place(some))
            what = f"<title>{escape(series[index])}</title>"
            parts.append(f'<path class="dots {series_class(index)}" d="{dots}">{what}</path>')
    for x_value, y_value, said in outlines:
        ((x, y),) = place(np.array([[x_value, y_value]]))
        cross = f"M{x - 4:.1f} {y:.1f}h8M{x:.1f} {y - 4:.1f}v8"
        parts.append(f'<path class="mark" d="{cross}"><title>{escape(said)}</title></path>')
    total = _TOP + height + _BOTTOM
    parts.append(_text((_LEFT + _WIDTH) / 2, total - 4, x_label, anchor="middle"))
    y_middle = _TOP + height / 2
    turned = f'transform="rotate(-90 12 {y_middle})"'
    parts.append(_text(12, y_middle, y_label, anchor="middle", more=turned))
    return _svg(title, "".join(parts), total)


def legend(names: Sequence[str], css_class: Callable[[int], str] = series_class) -> str:
    """The colours and names of series, or of layers with ``layer_class``; nothing of one alone."""
    if len(names) < 2:
        return ""
    shown = [
        f'<span class="key"><i class="{css_class(index)}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    ]
    return f'<p class="legend">{"".join(shown)}</p>'


def log_bins(values: np.ndarray, *, per_octave: int = 4) -> np.ndarray:
    """Edges of bins that are equal on a logarithmic axis, around all values above 0."""
    if not len(values):
        return np.array([1.0, 2.0])
    low, high = np.floor(np.log2(values.min())), np.ceil(np.log2(values.max()) + 1e-9)
    high = max(high, low + 1)
    return 2.0 ** np.linspace(low, high, int(high - low) * per_octave + 1)


def log_ticks(edges: np.ndarray, *, per_octave: int = 4) -> list[tuple[float, str]]:
    """The powers of two among edges of ``log_bins``, with their place in bins."""
    return [(float(at), f"{edges[at]:g}") for at in range(0, len(edges), per_octave)]


def log_position(edges: np.ndarray, value: float) -> float:
    """Where a value is among edges of ``log_bins``, in bins."""
    return float(np.log2(value / edges[0]) / np.log2(edges[-1] / edges[0]) * (len(edges) - 1))


def _svg(title: str, content: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )


def _y_axis(ticks: Sequence[tuple[float, str]]) -> str:
    inner = _HEIGHT - _TOP - _BOTTOM
    parts = []
    for share, text in ticks:
        y = _TOP + (1 - share) * inner
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, text, anchor="end"))
    return "".join(parts)


def _rectangle(x: float, y: float, width: float, height: float, index: int, said: str) -> str:
    return (
        f'<rect class="{layer_class(index)}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"><title>{escape(said)}</title></rect>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", full: str = "", more: str = ""
) -> str:
    said = f"<title>{escape(full)}</title>" if full and full != text else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{said}{escape(text)}</text>'
    )


def _number(value: float) -> str:
    value = float(value)
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.1f}"
