"""The loss while sets were distilled."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import DASHES, GRID, INK, SOFT, Style
from ddpipe.report.frame import ipc_order

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
    for i, ipc in enumerate(ipcs):
        axes.plot([6 + 76 * i, 28 + 76 * i], [9, 9], color=SOFT, linestyle=dashes[ipc], linewidth=1.2)
        axes.text(32 + 76 * i, 12, "whole set" if ipc == "all" else f"IPC {ipc}", fontsize=canvas.TEXT, color=SOFT)
    width = canvas.WIDTH / COLUMNS
    for i, ((label, method), group) in enumerate(panels):
        left, right = width * (i % COLUMNS) + 18, width * (i % COLUMNS + 1) - 6
        top, bottom = TOP + HEIGHT * (i // COLUMNS) + 18, TOP + HEIGHT * (i // COLUMNS + 1) - 14
        last = max(1, int(group["iteration"].max()))
        levels = group["loss"] / group.groupby("ipc")["loss"].transform(_largest)
        lowest = min(0.0, float(levels.min()))  # a loss may be negative
        for level in (lowest, 1.0):
            y = bottom - (level - lowest) / (1 - lowest) * (bottom - top)
            axes.plot([left, right], [y, y], color=GRID, linewidth=0.8)
            axes.text(left - 3, y + 3, f"{level:.2g}", fontsize=canvas.TEXT, color=SOFT, ha="right")
        for ipc, curve in group.assign(level=levels).groupby("ipc", sort=False):
            thin = curve.groupby(np.arange(len(curve)) * min(POINTS, len(curve)) // len(curve))
            x = left + thin["iteration"].max() / last * (right - left)
            y = bottom - (thin["level"].mean() - lowest) / (1 - lowest) * (bottom - top)
            axes.plot(x, y, color=look[method].colour, linestyle=dashes[ipc], linewidth=1.2)
        axes.text(left, top - 5, label, fontsize=canvas.TEXT, color=INK)
        axes.text(right, bottom + 10, f"{last:,}", fontsize=canvas.TEXT, color=SOFT, ha="right")
    return figure


def _largest(losses: pd.Series) -> float:
    return max(float(losses.abs().max()), np.finfo(float).tiny)
