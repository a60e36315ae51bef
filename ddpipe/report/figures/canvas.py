"""Where figures are drawn: one narrow sheet, measured in points, that a phone shows whole with text of nine pixels.

Nothing here measures text (matplotlib's layout engines take most of a page's time): whoever places a panel leaves room.
"""

import io
from typing import TYPE_CHECKING, Any

from ddpipe.report.figures.style import GRID, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 338.0  # points, of every sheet: a phone of 390 pixels shows it, between margins, on 345 or more
TEXT, HEAD = 9.0, 10.0  # points; nothing is smaller
LETTER = 0.62 * TEXT  # points that a letter takes at most, on the average of a word


def sheet(height: float) -> "Figure":
    """An empty sheet, `height` points high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72))


def panel(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes at so many points from the sheet's left and upper edge, in the plain style of all figures."""
    whole = figure.get_figheight() * 72
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=TEXT, labelcolor=SOFT, color=SOFT, length=2.5, pad=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(fontsize=TEXT, color=INK)
    axes.title.set(fontsize=HEAD, color=INK)
    return axes


def page(figure: "Figure") -> "Axes":
    """Axes over the whole sheet whose units are points, x from the left, y from the top; nothing of them is seen."""
    height = figure.get_figheight() * 72
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def say(axes: "Axes", x: float, y: float, words: str, color: str = SOFT, **more: Any) -> None:
    """`words` as they are (no formulas), of the size of all text but headings."""
    kind: dict[str, Any] = {"fontsize": TEXT, "color": color, "parse_math": False}
    axes.text(x, y, words, **kind | more)


def cut(name: str, room: float) -> str:
    """`name`, shortened to fit on so many points."""
    most = int(room / LETTER)
    return name if len(name) <= most else name[: most - 1] + "…"


def png(figure: "Figure", dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # the default names matplotlib's version
    return buffer.getvalue()
