"""Accuracy of the cells' own networks for each number of images per class."""

import math
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures.dots import Column, Dot, Group, Line, Reference, chart
from ddpipe.report.figures.scales import percents
from ddpipe.report.figures.style import Style
from ddpipe.report.frame import ipc_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def on_main_network(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured rows on the network that the grid names for the cell, under any protocol."""
    own = frame.loc[frame["main"], ["cell", "network"]]
    shown = frame.merge(own, on=["cell", "network"])
    return shown[shown["mean"].notna()]


def accuracy_vs_ipc(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """A group for each protocol and network, the largest first, a column an IPC; bars are one standard deviation.

    What only picks real images is the reference of its group, or has lines like the others where nothing is learned.

    Args:
        shown: not empty; rows of `on_main_network`.
    """
    ipcs = sorted(shown["ipc"].unique(), key=ipc_order)
    spread = shown["std"].fillna(0)
    columns = []
    for ipc in ipcs:
        here = shown["ipc"] == ipc
        ends = pd.concat([(shown["mean"] - spread)[here], (shown["mean"] + spread)[here]])
        columns.append(Column("whole set" if ipc == "all" else f"IPC {ipc}", percents(ends)))
    groups = []
    for (protocol, network), members in shown.groupby(["protocol", "network"], sort=False):
        learned = members["distilled"].any()
        lines = [
            Line(str(label), look[method], _dots(rows, ipcs))
            for (label, method), rows in members.groupby(["label", "method"], sort=False)
            if rows["distilled"].any() or not learned
        ]
        references = [
            Reference(str(label), look[method], tuple(dot and dot.value for dot in _dots(rows, ipcs)))
            for (label, method), rows in members.groupby(["label", "method"], sort=False)
            if learned and not rows["distilled"].any()
        ]
        groups.append(Group(f"{protocol}, {network}", best_first(lines), tuple(references)))
    return chart(columns, sorted(groups, key=lambda group: -len(group.lines)))


def _dots(rows: pd.DataFrame, ipcs: list[str]) -> tuple[Dot | None, ...]:
    found = {row["ipc"]: Dot(row["mean"], row["std"], row["state"]) for row in rows.to_dict("records")}
    return tuple(found.get(ipc) for ipc in ipcs)


def best_first(lines: list[Line]) -> tuple[Line, ...]:
    """By the column in which most lines have a dot, the last one of several; those without one there come last."""
    filled = Counter(i for line in lines for i, dot in enumerate(line.dots) if dot)
    column = max(filled, key=lambda i: (filled[i], i))

    def key(line: Line) -> tuple[bool, float]:
        dot = line.dots[column]
        others = [other.value for other in line.dots if other]
        return dot is None, -(dot.value if dot else max(others, default=-math.inf))

    return tuple(sorted(lines, key=key))
