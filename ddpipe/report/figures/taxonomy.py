"""The survey's tree of methods (its Figure 3), drawn from the recipes and coloured by what is measured of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import INK
from ddpipe.report.frame import labels
from ddpipe.report.survey import MISSING, Table
from ddpipe.settings.reading import validate
from ddpipe.states import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECTIONS = {
    "3": "Meta-learning framework",
    "3.1": "Backpropagation through time",
    "3.2": "Kernel ridge regression",
    "4": "Data matching framework",
    "4.1": "Gradient matching",
    "4.2": "Trajectory matching",
    "4.3": "Distribution matching",
    "6": "Selections of real images",
    "": "Other objectives",
}
SELECTIONS, OTHERS = "6", ""  # the survey compares methods with selections there; objectives that it does not know
# From dark to pale, told apart in grey too; all have a dark edge
COLOURS: dict[str, str] = {
    State.PUBLISHED: "#123A66",
    State.UNVERIFIED: "#3A72B4",
    State.REDUCED: "#B4D0EC",
    State.OWN: "#F0DFC8",
}
NOTHING, EDGE = "#FFFFFF", "#5A6B7D"
WORDS: dict[str, str] = {state: f"{state.shape} {state}" for state in State} | {"": "nothing measured"}
ROW, BOX, SQUARE = 15.0, 12.0, 5.6  # points: of a line, of a name's box, of a cell's square
NAMES, CELLS = 36.0, 220.0  # where names begin, and squares


@dataclass(frozen=True)
class Method:
    label: str
    factors: str  # what it learns in place of images, and how its parametrisation is called; "" where it learns images
    state: str  # the best of any result, "" without one
    cells: tuple[str, ...]  # the state of each cell that the survey prints, MISSING, or "" where the grid has none


def methods(config: Config, frames: Mapping[str, pd.DataFrame], survey: Sequence[Table]) -> dict[str, list[Method]]:
    """Section of the survey -> its methods, the survey's own first, each where the objective of its recipe belongs."""
    best: dict[str, str] = {}
    for frame in frames.values():
        for cell, state in zip(frame["cell"], frame["state"], strict=True):
            recipe = config.row(cell).recipe
            best[recipe] = _better(best.get(recipe, ""), state)
    printed: dict[str, list[str]] = {}
    for table in survey:
        for line in table.lines:
            printed.setdefault(line.method, []).extend(cell.state for cell in line.printed)
    names = labels(config)
    found: dict[str, list[Method]] = {section: [] for section in SECTIONS}
    for name in dict.fromkeys([*(name for name in names if name in config.recipes), *config.recipes]):
        section, factors = _place(config, name)
        cells = sorted(printed.get(name, []), key=[*COLOURS, MISSING, ""].index)
        found[section].append(Method(names.get(name, name), factors, best.get(name, ""), tuple(cells)))
    return found


def _place(config: Config, name: str) -> tuple[str, str]:
    """Section and factors of a recipe, as the records of its objective and its set declare them."""
    try:
        chosen = validate(settings.Cell, config.recipes[name].parts, "")
    except UserError:  # what is wrong with it `ddpipe check` says
        return OTHERS, ""
    if isinstance(chosen, settings.Selection):
        return SELECTIONS, ""
    section, factors = chosen.objective.section, chosen.synthetic.factors
    return section if section in SECTIONS else OTHERS, f"{factors}: {chosen.synthetic.name}" if factors else ""


def _better(one: str, other: str) -> str:
    return min((state for state in (one, other) if state), key=lambda state: [*State].index(State(state)), default="")


def taxonomy(tree: Mapping[str, Sequence[Method]]) -> "Figure":
    """The sections one below the other, a line a method: its name on the colour of its best state, its printed cells.

    Args:
        tree: of `methods`.
    """
    shown = [name for name in SECTIONS if tree[name] or any(tree[o] for o in SECTIONS if o.startswith(f"{name}."))]
    lines = len(shown) + sum(len(tree[section]) for section in shown)
    figure = canvas.sheet(62 + lines * ROW + 5 * len(shown))
    axes = canvas.page(figure)
    _legend(axes)
    y = 58.0
    for section in shown:
        y += 5
        depth = 6 + 12 * section.count(".")
        title = f"{section}  {SECTIONS[section]}".strip()
        weight = "normal" if "." in section else "bold"
        canvas.say(axes, depth, y + 11, title, fontsize=canvas.HEAD, color=INK, fontweight=weight)
        y += ROW
        if members := tree[section]:
            axes.plot([24, 24], [y, y + ROW * (len(members) - 0.5)], color=EDGE, linewidth=0.8)
        for method in members:
            _method(axes, method, y)
            y += ROW
    return figure


def _method(axes: "Axes", method: Method, y: float) -> None:
    axes.plot([24, NAMES], [y + ROW / 2] * 2, color=EDGE, linewidth=0.8, zorder=0)
    shape = f"{State(method.state).shape} " if method.state else ""
    label = shape + canvas.cut(method.label, 120)
    width = 8 + len(label) * canvas.LETTER
    top = y + (ROW - BOX) / 2
    _box(axes, NAMES, top, width, BOX, method.state)
    ink = "#FFFFFF" if method.state in (State.PUBLISHED, State.UNVERIFIED) else INK
    canvas.say(axes, NAMES + width / 2, top + 9, label, ha="center", color=ink)
    if method.factors:
        canvas.say(axes, NAMES + width + 4, top + 9, method.factors, color="#1F5FA8", style="italic")
    for i, state in enumerate(method.cells):
        _box(axes, CELLS + i // 2 * (SQUARE + 0.8), y + 1.2 + i % 2 * (SQUARE + 0.8), SQUARE, SQUARE, state)


def _box(axes: "Axes", x: float, y: float, width: float, height: float, state: str) -> None:
    colour = COLOURS.get(state, NOTHING)
    axes.fill(
        [x, x + width, x + width, x], [y, y, y + height, y + height], facecolor=colour, edgecolor=EDGE, linewidth=0.6
    )


def _legend(axes: "Axes") -> None:
    """The colours in two lines, and what a square is."""
    x, y = 6.0, 3.0
    for state, word in WORDS.items():
        if x + 14 + len(word) * canvas.LETTER > canvas.WIDTH:
            x, y = 6.0, y + ROW
        _box(axes, x, y, BOX, BOX, state)
        canvas.say(axes, x + 16, y + 9, word)
        x += 26 + len(word) * canvas.LETTER
    canvas.say(axes, 6, y + ROW + 12, "names: the best of any result; squares: the cells that the survey prints")
