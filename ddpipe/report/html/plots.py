"""Small plots of a card as inline SVG, in the page's colours and letters."""

import math
from collections.abc import Sequence
from html import escape

WIDTH, LEFT, RIGHT = 380, 8, 372  # units; the page shows a plot at most about this many pixels wide
ROW = 16  # of one set's accuracies


def _svg(height: float, text: str, html: str) -> str:
    return f'<svg class=plot viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(text)}">{html}</svg>'


def _label(x: float, y: float, text: str, end: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{end}">{escape(text)}</text>'


def dots(accuracies: Sequence[Sequence[float]], mean: float, target: float, spread: float, word: str, text: str) -> str:
    """Every accuracy in percent as a dot, a row a set; beside them as a band what they are compared with.

    Args:
        accuracies: a row a set, a number a network.
        mean: of all of them, marked by a line.
        target: a published mean, NaN for none; `spread` is its std, NaN where it is unknown, `word` says whose it is.
        text: what is shown, for those who cannot see it.
    """
    flat = [value for row in accuracies for value in row]
    half = 0.0 if math.isnan(spread) else spread
    band = [] if math.isnan(target) else [target - half, target + half]
    low, high = min(flat + band), max(flat + band)
    low, high = (low - 0.5, high + 0.5) if high - low < 1 else (low, high)
    top, bottom = 18, 18 + ROW * len(accuracies)

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (RIGHT - LEFT)

    parts = []
    if band:
        left, right = x(band[0]), x(band[1])
        wide = max(right - left, 2)
        parts.append(f'<rect class=band x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{bottom - top}"/>')
        place = min(max(x(target), 70), WIDTH - 70)
        parts.append(_label(place, 12, f"{word} {target:.1f}", "middle"))
    parts.append(f'<path class=mean d="M{x(mean):.1f} {top}V{bottom}"/><path class=axis d="M{LEFT} {bottom}H{RIGHT}"/>')
    for i, row in enumerate(accuracies):
        circles = "".join(f'<circle r=4 cx="{x(value):.1f}"/>' for value in row)
        parts.append(f'<g transform="translate(0 {top + ROW * (i + 0.5):g})">{circles}</g>')
    parts += [_label(LEFT, bottom + 15, f"{low:.1f} %"), _label(RIGHT, bottom + 15, f"{high:.1f} %", "end")]
    return _svg(bottom + 20, text, "".join(parts))


def curve(points: Sequence[tuple[float, float]], text: str) -> str:
    """A line through (iteration, value) on an absolute scale: the largest and the smallest value are written at it.

    Args:
        points: at least one; all finite.
        text: what is shown, for those who cannot see it.
    """
    first, last = points[0][0], points[-1][0]
    values = [value for _, value in points]
    low, high = min(values), max(values)
    top, bottom, left = 6, 92, 62
    across, up = (last - first) or 1, (high - low) or 1
    places = [
        (left + (x - first) / across * (RIGHT - left), bottom - (y - low) / up * (bottom - top)) for x, y in points
    ]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path class=axis d="M{left} {top}V{bottom}H{RIGHT}"/><path class=curve d="{path}"/>']
    parts += [_label(left - 5, top + 8, f"{high:.4g}", "end"), _label(left - 5, bottom, f"{low:.4g}", "end")]
    parts += [_label(left, bottom + 16, f"{first:,.0f}"), _label(RIGHT, bottom + 16, f"iteration {last:,.0f}", "end")]
    if len(points) == 1:
        parts.append(f'<circle r=4 cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}"/>')
    return _svg(bottom + 21, text, "".join(parts))
