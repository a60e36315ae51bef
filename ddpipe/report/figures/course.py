"""Accuracy over the iterations of a distillation, beside what random or chosen real images reach."""

from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures import canvas
from ddpipe.report.figures.scales import percents
from ddpipe.report.figures.style import GRID, INK, SOFT, Style, mixed
from ddpipe.report.frame import ipc_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # panels side by side
HEIGHT, HEAD = 96.0, 20.0  # of a panel, and of what stands above those of one IPC


def accuracy_over_iterations(shown: pd.DataFrame, levels: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """A panel per cell, those of one IPC with one scale: a line with a band of one standard deviation, its end marked.

    Args:
        shown: not empty; columns `cell method label ipc iteration mean std state`.
        levels: of the selections beside them, grey lines; columns `cell` (that they stand beside) `method label mean`.
    """
    blocks = [(ipc, list(rows.groupby("cell", sort=False))) for ipc, rows in shown.groupby("ipc", sort=False)]
    blocks.sort(key=lambda block: ipc_order(block[0]))
    selections = dict(zip(levels["method"], levels["label"], strict=True))
    legend = HEAD if selections else 0.0
    lines = [-(-len(panels) // COLUMNS) for _, panels in blocks]
    figure = canvas.sheet(legend + sum(HEAD + HEIGHT * count for count in lines))
    axes = canvas.page(figure)
    for i, (method, label) in enumerate(selections.items()):
        style = look[method]
        axes.plot([6 + 90 * i, 28 + 90 * i], [9, 9], color=style.colour, linestyle=style.dashes, linewidth=1.0)
        canvas.say(axes, 32 + 90 * i, 12, canvas.cut(label, 60), color=SOFT)
    y, width = legend, canvas.WIDTH / COLUMNS
    for (ipc, panels), count in zip(blocks, lines, strict=True):
        canvas.say(axes, 6, y + 13, f"IPC {ipc}", color=SOFT, style="italic")
        names = [cell for cell, _ in panels]
        beside = levels[levels["cell"].isin(names)]
        spread = pd.concat([rows["mean"] + side * rows["std"].fillna(0) for _, rows in panels for side in (-1, 1)])
        scale = percents([*spread, *beside["mean"]])
        for i, (cell, rows) in enumerate(panels):
            left, right = width * (i % COLUMNS) + 22, width * (i % COLUMNS + 1) - 8
            top = y + HEAD + HEIGHT * (i // COLUMNS) + 14
            bottom = top + HEIGHT - 32
            for value, word in scale.ticks(bottom - top):
                at = scale.place(value, bottom, top)
                axes.plot([left, right], [at, at], color=GRID, linewidth=0.8)
                canvas.say(axes, left - 3, at + 3, word, color=SOFT, ha="right")
            for row in beside[beside["cell"] == cell].to_dict("records"):
                at, style = scale.place(row["mean"], bottom, top), look[row["method"]]
                axes.plot([left, right], [at, at], color=style.colour, linestyle=style.dashes, linewidth=1.0)
            last = max(1, int(rows["iteration"].max()))
            x = [left + iteration / last * (right - left) for iteration in rows["iteration"]]
            bounds = [
                [
                    scale.place(mean + side * std, bottom, top)
                    for mean, std in zip(rows["mean"], rows["std"], strict=True)
                ]
                for side in (-1, 0, 1)
            ]
            _curve(axes, x, bounds, look[rows["method"].iloc[0]], rows["state"].iloc[0])
            canvas.say(axes, left, top - 4, canvas.cut(rows["label"].iloc[0], width - 30), color=INK)
            canvas.say(axes, right, bottom + 11, f"{last:,}", color=SOFT, ha="right")
        y += HEAD + HEIGHT * count
    return figure


def _curve(axes: "Axes", x: list[float], bounds: list[list[float]], style: Style, state: str) -> None:
    """A line, the band around it (none where bounds are one), and a marker at its end."""
    below, middle, above = bounds
    if below != above:
        axes.fill([*x, *x[::-1]], [*below, *above[::-1]], color=mixed(style.colour, "#FFFFFF", 0.75), linewidth=0)
    axes.plot(x, middle, color=style.colour, linewidth=1.3)
    axes.plot(x[:-1], middle[:-1], color=style.colour, marker=".", markersize=3.5, linestyle="none")
    axes.plot(x[-1:], middle[-1:], **style.ink(state))
