"""Accuracy of the cells' own networks for each number of images per class."""

import math
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures.dots import Column, Dot, Group, Line, Reference, Section, chart
from ddpipe.report.figures.scales import percents
from ddpipe.report.figures.style import Style
from ddpipe.report.frame import ipc_order
from ddpipe.report.tables import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 4  # an IPC with less than a fourth of the most frequent one's results has a section of its own


def on_main_network(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured rows on the network that the grid names for the cell, under any protocol."""
    own = frame.loc[frame["main"], ["cell", "network"]]
    shown = frame.merge(own, on=["cell", "network"])
    return shown[shown["mean"].notna()]


def accuracy_vs_ipc(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """The chart of `sections`."""
    return chart(sections(shown, look))


def sections(shown: pd.DataFrame, look: dict[str, Style]) -> list[Section]:
    """A group for each protocol and network, the largest first, a column an IPC; bars are one standard deviation.

    Selections are the references of their group; where it has nothing else they have lines themselves.

    Args:
        shown: not empty; rows of `on_main_network`.
    """
    ipcs = sorted(shown["ipc"].unique(), key=ipc_order)
    counts = shown["ipc"].value_counts()
    common = [ipc for ipc in ipcs if counts[ipc] * FEW > counts.max()]
    parts = [common, *([ipc] for ipc in ipcs if ipc not in common)]
    return [_section(shown[shown["ipc"].isin(part)], part, look) for part in parts]


def _section(shown: pd.DataFrame, ipcs: list[str], look: dict[str, Style]) -> Section:
    columns = []
    for ipc in ipcs:
        rows = shown[shown["ipc"] == ipc]
        spread = rows["std"].fillna(0)
        ends = percents(pd.concat([rows["mean"] - spread, rows["mean"] + spread]))
        columns.append(Column(heading(ipc), ends))
    groups = []
    for (protocol, network), members in shown.groupby(["protocol", "network"], sort=False):
        lines, references = [], []
        learned = any(not look[method].reference for method in members["method"])
        for (label, method), rows in members.groupby(["label", "method"], sort=False):
            dots = _dots(rows, ipcs)
            if learned and look[method].reference:
                references.append(Reference(label, look[method], tuple(dot.value if dot else None for dot in dots)))
            else:
                lines.append(Line(label, look[method], dots))
        groups.append(Group(f"{protocol}, {network}", best_first(lines), tuple(references)))
    return Section(tuple(columns), tuple(sorted(groups, key=lambda group: -len(group.lines))))


def _dots(rows: pd.DataFrame, ipcs: list[str]) -> tuple[Dot | None, ...]:
    columns = (rows[name] for name in ("ipc", "mean", "std", "state"))
    found = {ipc: Dot(*numbers) for ipc, *numbers in zip(*columns, strict=True)}
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
