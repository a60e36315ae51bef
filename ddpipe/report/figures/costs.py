"""What distilled sets cost beside what they are worth."""

from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures.dots import Column, Dot, Group, Line, chart
from ddpipe.report.figures.scales import percents, seconds
from ddpipe.report.figures.style import Style
from ddpipe.report.frame import ipc_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def costly(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured distilled cells on their own network whose time is known: `seconds`, experts included."""
    known = frame[frame["main"] & frame["distilled"] & (frame["distill_seconds"] > 0) & frame["mean"].notna()]
    return known.assign(seconds=known["distill_seconds"] + known["experts_seconds"].fillna(0))


def accuracy_vs_seconds(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """Seconds beside accuracy, the cheapest sets first, a group an IPC; names of which nothing cheaper is as good are bold.

    Args:
        shown: not empty; rows of `costly`.
    """
    spread = shown["std"].fillna(0)
    columns = [
        Column("time", seconds(shown["seconds"])),
        Column("accuracy, %", percents(pd.concat([shown["mean"] - spread, shown["mean"] + spread]))),
    ]
    groups = []
    for ipc in sorted(shown["ipc"].unique(), key=ipc_order):
        rows = shown[shown["ipc"] == ipc].sort_values(["seconds", "mean"], ascending=[True, False], kind="stable")
        beaten = rows["mean"].cummax().shift(fill_value=-1.0) >= rows["mean"]
        lines = [
            Line(
                row["label"],
                look[row["method"]],
                (Dot(row["seconds"], state=row["state"]), Dot(row["mean"], row["std"], row["state"])),
                strong=not beaten[place],
            )
            for place, row in rows.iterrows()
        ]
        groups.append(Group("whole set" if ipc == "all" else f"IPC {ipc}", tuple(lines)))
    return chart(columns, groups)
