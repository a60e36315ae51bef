"""What distilled sets cost beside what they are worth."""

from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures.dots import Column, Dot, Group, Line, Section, chart
from ddpipe.report.figures.scales import percents, seconds
from ddpipe.report.figures.style import Style
from ddpipe.report.frame import ipc_order
from ddpipe.report.tables import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def costly(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured distilled cells on their own network whose time is known: `seconds`, experts included, `on` what."""
    known = frame[frame["main"] & frame["distilled"] & (frame["distill_seconds"] > 0) & frame["mean"].notna()]
    return known.assign(seconds=known["distill_seconds"] + known["experts_seconds"].fillna(0), on=known["device"])


def accuracy_vs_seconds(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """The chart of `sections`."""
    return chart(sections(shown, look))


def sections(shown: pd.DataFrame, look: dict[str, Style]) -> list[Section]:
    """Seconds beside accuracy: a section an IPC, a group a device, the cheapest first; bold: nothing cheaper is better.

    Args:
        shown: not empty; rows of `costly`.
    """
    time = Column("time", seconds(shown["seconds"]))
    found = []
    for ipc in sorted(shown["ipc"].unique(), key=ipc_order):
        here = shown[shown["ipc"] == ipc]
        spread = here["std"].fillna(0)
        accuracy = percents(pd.concat([here["mean"] - spread, here["mean"] + spread]))
        groups = [Group(str(device), _cheapest_first(rows, look)) for device, rows in here.groupby("on", sort=False)]
        found.append(Section((time, Column(f"accuracy, {heading(ipc)}", accuracy)), tuple(groups)))
    return found


def _cheapest_first(rows: pd.DataFrame, look: dict[str, Style]) -> tuple[Line, ...]:
    lines, best = [], -1.0
    ordered = rows.sort_values(["seconds", "mean"], ascending=[True, False], kind="stable")
    for row in ordered.to_dict("records"):
        dots = (Dot(row["seconds"], state=row["state"]), Dot(row["mean"], row["std"], row["state"]))
        lines.append(Line(row["label"], look[row["method"]], dots, strong=row["mean"] > best))
        best = max(best, row["mean"])
    return tuple(lines)
