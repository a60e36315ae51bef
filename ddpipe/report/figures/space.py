"""Real and synthetic images in the features of a network, in two planes (survey, Figure 6b)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ddpipe.pipeline.courses import Points, Space
from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import INK, SOFT, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, HEAD, LEGEND = 150.0, 32.0, 20.0  # points: height of a panel, of the words above it, of what stands above all
GAP, MARGIN = 14.0, 8.0
NAMED = 10  # classes whose names are written where their real images lie
REAL, DRAWN = "#A8A8A8", "#303030"
APART = "tsne"  # the plane in which classes lie apart
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
PLANES = {"pca": "principal components", "tsne": "t-SNE"}


@dataclass(frozen=True)
class Placed:
    """A cell whose images were placed, and how it is told and drawn."""

    label: str
    ipc: str
    style: Style
    state: str
    space: Space


def feature_space(cells: list[Placed]) -> "Figure":
    """A row per cell, a panel per plane: real images are dots, random ones crosses, those of the set as their method.

    Args:
        cells: not empty.
    """
    figure = canvas.sheet(LEGEND + len(cells) * (HEAD + PANEL))
    axes = canvas.page(figure)
    for x, word in ((10, "real images"), (98, "random ones of the budget"), (240, "the set")):
        canvas.say(axes, x + 8, 13, word, color=SOFT)
    _dots(axes, [10], [10])
    _crosses(axes, [98], [10])
    axes.plot([240], [10], **_ink(cells[0]))
    width = (canvas.WIDTH - 2 * MARGIN - GAP) / 2
    for i, cell in enumerate(cells):
        top, share = LEGEND + i * (HEAD + PANEL), cell.space.coverage
        told = (
            f"{cell.label}, IPC {cell.ipc}: covers {share['set']:.0%} of the real images, random {share['random']:.0%}"
        )
        canvas.say(axes, MARGIN, top + 13, told, color=INK)
        for j, (plane, name) in enumerate(PLANES.items()):
            left = MARGIN + j * (width + GAP)
            canvas.say(axes, left, top + 27, name, color=SOFT)
            _panel(axes, cell, plane, (left, top + HEAD, width, PANEL - 10))
    return figure


def _panel(axes: "Axes", cell: Placed, plane: str, place: tuple[float, float, float, float]) -> None:
    """One plane of a cell in the rectangle `place`: left, top, width, height."""
    left, top, width, height = place
    axes.plot(
        [left, left + width, left + width, left, left], [top, top, top + height, top + height, top], color=REAL, lw=0.6
    )
    flat = [_values(points, plane) for points in cell.space.points.values()]
    ends = [(min(map(min, own)), max(map(max, own))) for own in zip(*flat, strict=True)]

    def spots(name: Literal["real", "set", "random"]) -> tuple[list[float], list[float]]:
        (x, y), ((west, east), (south, north)) = _values(cell.space.points[name], plane), ends
        across, up = (width - 12) / ((east - west) or 1.0), (height - 12) / ((north - south) or 1.0)
        return [left + 6 + across * (at - west) for at in x], [top + 6 + up * (north - at) for at in y]

    _dots(axes, *spots("real"))
    _crosses(axes, *spots("random"))
    axes.plot(*spots("set"), **_ink(cell))
    classes = np.array(cell.space.points["real"].classes)
    for label in sorted(set(classes)) if plane == APART and len(cell.space.classes) <= NAMED else ():
        x, y = (float(np.median(np.array(own)[classes == label])) for own in spots("real"))
        canvas.say(axes, x, y + 3, cell.space.classes[label], color=INK, ha="center", bbox=PAPER)


def _values(points: Points, plane: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return getattr(points, f"{plane}_x"), getattr(points, f"{plane}_y")


def _ink(cell: Placed) -> dict[str, Any]:
    return cell.style.ink(cell.state) | {"linestyle": "none", "markersize": 3.4}


def _dots(axes: "Axes", x: list[float], y: list[float]) -> None:
    _strokes(axes, x, y, [(-0.05, 0.0), (0.05, 0.0)], REAL, 2.4)


def _crosses(axes: "Axes", x: list[float], y: list[float]) -> None:
    _strokes(axes, x, y, [(-2.2, 0.0), (2.2, 0.0), (0.0, -2.2), (0.0, 2.2)], DRAWN, 0.9)


def _strokes(
    axes: "Axes", x: list[float], y: list[float], ends: list[tuple[float, float]], colour: str, width: float
) -> None:
    """At every place lines from an end to the next, two by two, as one path: a fifth of what markers take in SVG."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    vertices = [(left + right, top + down) for left, top in zip(x, y, strict=True) for right, down in ends]
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * (len(vertices) // 2))
    # unsnapped, or the shortest lines are no lines
    axes.add_patch(PathPatch(path, fill=False, color=colour, linewidth=width, capstyle="round", snap=False))
