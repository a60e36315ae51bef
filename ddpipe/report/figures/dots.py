"""A dot chart: a line of names and dots a method, columns side by side, groups one below the other.

It needs no legend, shows sixty methods as well as six, and its text stands still wherever the dots lie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ddpipe.report.figures import canvas
from ddpipe.report.figures.scales import Scale
from ddpipe.report.figures.style import GRID, INK, SOFT, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, GAP = 12.0, 9.0  # points: of a line, above a group
NAMES = 132.0  # points that names take at most


@dataclass(frozen=True)
class Dot:
    value: float
    spread: float = math.nan  # half the length of its bar; NaN draws none
    state: str = ""


@dataclass(frozen=True)
class Line:
    name: str
    style: Style
    dots: tuple[Dot | None, ...]  # one a column
    strong: bool = False  # its name stands out


@dataclass(frozen=True)
class Reference:
    """A value that the whole group is held against: a grey line through it."""

    name: str
    style: Style
    values: tuple[float | None, ...]  # one a column


@dataclass(frozen=True)
class Group:
    title: str
    lines: tuple[Line, ...]
    references: tuple[Reference, ...] = field(default=())


@dataclass(frozen=True)
class Column:
    title: str
    scale: Scale


def chart(columns: Sequence[Column], groups: Sequence[Group]) -> "Figure":
    """The groups from top to bottom, each with its title; scales above the first and below the last one."""
    names = [line.name for group in groups for line in group.lines]
    left = min(NAMES, 8 + max(map(len, names), default=0) * canvas.LETTER)
    width = (canvas.WIDTH - left - 8) / len(columns)
    references = {r.name: r.style for group in groups for r in group.references}
    keys = 16.0 if references else 0.0
    top = keys + 34
    height = top + sum(GAP + ROW * (1 + len(group.lines)) for group in groups) + 20
    figure = canvas.sheet(height)
    axes = canvas.page(figure)
    _keys(axes, references, left)
    places = [(left + i * width + 9, left + (i + 1) * width - 9) for i in range(len(columns))]
    for column, (start, end) in zip(columns, places, strict=True):
        axes.text((start + end) / 2, keys + 14, column.title, ha="center", fontsize=canvas.HEAD, color=INK)
        for tick, word in column.scale.ticks(end - start):
            x = column.scale.place(tick, start, end)
            axes.plot([x, x], [top, height - 20], color=GRID, linewidth=0.6, zorder=0)
            for y in (top - 5, height - 9):
                axes.text(x, y, word, ha="center", fontsize=canvas.TEXT, color=SOFT)
    y = top
    for group in groups:
        y += GAP
        axes.text(6, y + 8, group.title, fontsize=canvas.TEXT, color=SOFT, style="italic")
        _group(axes, group, columns, places, left, y + ROW)
        y += ROW * (1 + len(group.lines))
    return figure


def _group(
    axes: "Axes",
    group: Group,
    columns: Sequence[Column],
    places: Sequence[tuple[float, float]],
    left: float,
    top: float,
) -> None:
    from matplotlib.collections import LineCollection

    bars, colours = [], []
    for number, line in enumerate(group.lines):
        y = top + (number + 0.5) * ROW
        weight = "bold" if line.strong else "normal"
        axes.text(left - 4, y + 3.2, line.name, ha="right", fontsize=canvas.TEXT, color=INK, fontweight=weight)
        for dot, column, (start, end) in zip(line.dots, columns, places, strict=True):
            if dot is None:
                continue
            if not math.isnan(dot.spread):
                ends = [column.scale.place(dot.value + by, start, end) for by in (-dot.spread, dot.spread)]
                bars.append([(x, y) for x in ends])
                colours.append(line.style.colour)
            ink = line.style.ink(dot.state) | {"linestyle": "none"}
            axes.plot([column.scale.place(dot.value, start, end)], [y], **ink)
    axes.add_collection(LineCollection(bars, colors=colours, linewidths=1.0, zorder=1))
    bottom = top + ROW * len(group.lines)
    for reference in group.references:
        for value, column, (start, end) in zip(reference.values, columns, places, strict=True):
            if value is not None:
                x, style = column.scale.place(value, start, end), reference.style
                axes.plot([x, x], [top, bottom], color=style.colour, linestyle=style.dashes, linewidth=1.1, zorder=0.5)


def _keys(axes: "Axes", references: dict[str, Style], left: float) -> None:
    """The names of the lines through the groups, side by side above them."""
    x = min(left, 6.0)
    for name, style in references.items():
        axes.plot([x, x + 22], [9, 9], color=style.colour, linestyle=style.dashes, linewidth=1.1)
        axes.text(x + 26, 12, name, fontsize=canvas.TEXT, color=SOFT)
        x += 40 + len(name) * canvas.LETTER
