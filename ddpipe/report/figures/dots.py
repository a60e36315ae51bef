"""A dot chart: a line of names and dots a method, columns side by side, groups one below the other.

It needs no legend, shows sixty methods as well as six, and its text stands still wherever the dots lie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddpipe.report.figures import canvas
from ddpipe.report.figures.scales import Scale
from ddpipe.report.figures.style import GRID, INK, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, GAP = 12.0, 9.0  # points: of a line, above a group
KEYS, HEAD, FOOT = 16.0, 30.0, 26.0  # of the names of lines; of what stands above and below the groups of a section
NAMES = 140.0  # points that names take at most


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


@dataclass(frozen=True)
class Section:
    """Groups with the same columns: their scales stand above and below it."""

    columns: tuple[Column, ...]
    groups: tuple[Group, ...]

    @property
    def height(self) -> float:
        return HEAD + sum(GAP + ROW * (1 + len(group.lines)) for group in self.groups) + FOOT


def chart(sections: Sequence[Section]) -> "Figure":
    """The sections from top to bottom, the names of the references above the first one."""
    groups = [group for section in sections for group in section.groups]
    longest = max((len(line.name) for group in groups for line in group.lines), default=0)
    left = min(NAMES, 8 + longest * canvas.LETTER)
    known = [reference for group in groups for reference in group.references]
    references = {one.style: one.name for one in sorted(known, key=lambda one: -len(one.name))}  # the shortest name
    top = KEYS if references else 0.0
    figure = canvas.sheet(top + sum(section.height for section in sections))
    axes = canvas.page(figure)
    _keys(axes, references)
    for section in sections:
        _section(axes, section, left, top)
        top += section.height
    return figure


def _section(axes: "Axes", section: Section, left: float, top: float) -> None:
    width = (canvas.WIDTH - left - 8) / len(section.columns)
    places = [(left + i * width + 9, left + (i + 1) * width - 9) for i in range(len(section.columns))]
    bottom = top + section.height - FOOT + 3
    grid: list[float] = []
    for column, (start, end) in zip(section.columns, places, strict=True):
        canvas.say(axes, (start + end) / 2, top + 12, column.title, ha="center", fontsize=canvas.HEAD, color=INK)
        for tick, word in column.scale.ticks(end - start):
            grid.append(x := column.scale.place(tick, start, end))
            for y in (top + 25, bottom + 11):
                canvas.say(axes, x, y, word, ha="center")
    upright(axes, grid, top + HEAD, bottom, color=GRID, linewidth=0.6, zorder=0)
    y = top + HEAD
    for group in section.groups:
        y += GAP
        canvas.say(axes, 6, y + 8, group.title, style="italic")
        _group(axes, group, section.columns, places, left, y + ROW)
        y += ROW * (1 + len(group.lines))


def upright(axes: "Axes", places: Sequence[float], top: float, bottom: float, **ink: Any) -> None:
    """Lines from `top` to `bottom`, all of them one path."""
    x = [value for place in places for value in (place, place, math.nan)]
    axes.plot(x, [top, bottom, math.nan] * len(places), **ink)


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
        canvas.say(
            axes,
            left - 4,
            y + 3.2,
            canvas.cut(line.name, left - 8),
            ha="right",
            fontsize=canvas.TEXT,
            color=INK,
            fontweight=weight,
        )
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
        pairs = zip(reference.values, columns, places, strict=True)
        x = [column.scale.place(value, *ends) for value, column, ends in pairs if value is not None]
        ink = {"color": reference.style.colour, "linestyle": reference.style.dashes}
        upright(axes, x, top, bottom, linewidth=1.1, zorder=0.5, **ink)


def _keys(axes: "Axes", references: dict[Style, str]) -> None:
    """What the lines through the groups are, side by side above them."""
    x = 6.0
    for style, name in references.items():
        axes.plot([x, x + 22], [9, 9], color=style.colour, linestyle=style.dashes, linewidth=1.1)
        canvas.say(axes, x + 26, 12, name)
        x += 40 + len(name) * canvas.LETTER
