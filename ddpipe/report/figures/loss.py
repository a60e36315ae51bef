"""The loss while sets were distilled."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import DASHES, GRID, INK, SOFT, Style
from ddpipe.report.frame import ipc_order
from ddpipe.report.tables import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, POINTS = 3, 40  # panels side by side; points of a curve, about two of the sheet's apart
HEIGHT, TOP = 68.0, 20.0  # of a panel and of what stands above all of them
LINES = ("-", *DASHES[:3])


def loss_curves(losses: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """Loss against the iteration: a panel per method, a line per IPC, each relative to its own maximum.

    Args:
        losses: not empty; columns of `ddpipe.report.frame.losses`.
    """
    panels = list(losses.groupby(["label", "method"], sort=False))
    ipcs = sorted(losses["ipc"].unique(), key=ipc_order)
    dashes = {ipc: LINES[i % len(LINES)] for i, ipc in enumerate(ipcs)}
    figure = canvas.sheet(TOP + HEIGHT * -(-len(panels) // COLUMNS))
    axes = canvas.page(figure)
    room = min(76.0, (canvas.WIDTH - 12) / len(ipcs))
    for i, ipc in enumerate(ipcs):
        axes.plot([6 + room * i, 26 + room * i], [9, 9], color=SOFT, linestyle=dashes[ipc], linewidth=1.2)
        canvas.say(axes, 30 + room * i, 12, heading(ipc))
    width = canvas.WIDTH / COLUMNS
    for i, ((label, method), group) in enumerate(panels):
        left, right = width * (i % COLUMNS) + 18, width * (i % COLUMNS + 1) - 6
        top, bottom = TOP + HEIGHT * (i // COLUMNS) + 18, TOP + HEIGHT * (i // COLUMNS + 1) - 14
        last = max(1, int(group["iteration"].max()))
        curves = {ipc: thinned(curve["iteration"], curve["loss"]) for ipc, curve in group.groupby("ipc", sort=False)}
        lowest = min(0.0, *(float(levels.min()) for _, levels in curves.values()))  # a loss may be negative
        for level, height in ((lowest, bottom), (1.0, top)):
            axes.plot([left, right], [height, height], color=GRID, linewidth=0.8)
            canvas.say(axes, left - 3, height + 3, f"{level:.2g}", ha="right")
        for ipc, (iterations, levels) in curves.items():
            x = left + iterations / last * (right - left)
            y = bottom - (levels - lowest) / (1 - lowest) * (bottom - top)
            dot = "." if len(x) == 1 else None  # a line of one point is not seen
            axes.plot(x, y, color=look[method].colour, linestyle=dashes[ipc], linewidth=1.2, marker=dot)
        canvas.say(axes, left, top - 5, canvas.cut(label, right - left + 16), color=INK)
        canvas.say(axes, right, bottom + 10, f"{last:,}", ha="right")
    return figure


def thinned(iterations: pd.Series, losses: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(iterations, levels) of a curve relative to its largest absolute loss: at most POINTS means over equal stretches,
    each at the last iteration of its stretch."""
    count = len(losses)
    starts = -(-np.arange(min(POINTS, count)) * count // min(POINTS, count))
    ends = np.append(starts[1:], count)
    values = losses.to_numpy(dtype=float)
    means = np.add.reduceat(values, starts) / (ends - starts)
    return iterations.to_numpy(dtype=float)[ends - 1], means / max(np.abs(values).max(), np.finfo(float).tiny)
