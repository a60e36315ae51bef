"""The same sets on other networks than those they were distilled for, as a table of colours."""

from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import INK, PALETTE, SOFT, Style, mixed
from ddpipe.report.frame import ipc_order
from ddpipe.states import State

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN = "own network"
ROW, NAMES, SLANT = 14.0, 118.0, 50.0  # points of a line and of the names beside it; degrees of the names above


def transferred(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cells that were measured on more than one network, those on the cell's own network first."""
    measured = frame[frame["mean"].notna()].sort_values("main", ascending=False, kind="stable")
    networks = measured.groupby("cell")["network"].transform("nunique")
    return measured[networks > 1]


def cross_architecture(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """A row per set and a column per network: the accuracy, the shape of its state, and a colour by the accuracy.

    The first column is each cell's own network under its own protocol. A further protocol on one network has a line of
    its own.

    Args:
        shown: not empty; rows of `transferred`.
    """
    own = shown.loc[shown["main"], ["cell", "network"]].drop_duplicates("cell").set_index("cell")["network"]
    column = shown["network"].where(shown["network"] != shown["cell"].map(own), OWN)
    shown = shown.assign(column=column, again=shown.assign(column=column).groupby(["cell", "column"]).cumcount())
    columns = sorted(dict.fromkeys(column), key=lambda name: name != OWN)
    blocks = [(ipc, _lines(shown[shown["ipc"] == ipc])) for ipc in sorted(shown["ipc"].unique(), key=ipc_order)]
    left = min(NAMES, 22 + max(len(name) for _, lines in blocks for name, _ in lines) * canvas.LETTER)
    side = min(56.0, (canvas.WIDTH - left - 30) / len(columns))
    head = 14 + max(map(len, columns)) * canvas.LETTER * 0.77  # sine of the slant
    figure = canvas.sheet(head + sum(16 + ROW * len(lines) for _, lines in blocks) + 6)
    axes = canvas.page(figure)
    for i, name in enumerate(columns):
        x = left + (i + 0.45) * side
        axes.text(x, head - 2, name, fontsize=canvas.TEXT, color=INK, rotation=SLANT, rotation_mode="anchor")
    low, high = float(shown["mean"].min()), float(shown["mean"].max())
    y = head
    for ipc, lines in blocks:
        axes.text(
            6, y + 12, "whole set" if ipc == "all" else f"IPC {ipc}", fontsize=canvas.TEXT, color=SOFT, style="italic"
        )
        y += 16
        for name, members in lines:
            style = look[members["method"].iloc[0]]
            axes.text(left - 18, y + 10, name, ha="right", fontsize=canvas.TEXT, color=INK)
            axes.plot([left - 9], [y + 7], **style.ink(members["state"].iloc[0]))
            for row in members.to_dict("records"):
                x, tint = left + columns.index(row["column"]) * side, (row["mean"] - low) / ((high - low) or 1.0)
                colour = mixed("#EAF2FA", "#123A66", tint)
                axes.fill(
                    [x, x + side - 1, x + side - 1, x], [y, y, y + ROW - 1, y + ROW - 1], color=colour, linewidth=0
                )
                number = f"{row['mean']:.1f}{State(row['state']).shape}"
                ink = "white" if tint > 0.45 else INK
                axes.text(x + side / 2, y + 10, number, ha="center", fontsize=canvas.TEXT, color=ink)
            y += ROW
    return figure


def _lines(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(name, rows) of the sets of one IPC, those first that are the best on their own networks."""
    found = []
    for (label, again), members in rows.groupby(["label", "again"], sort=False):
        found.append((f"{label}, {members['protocol'].iloc[0]}" if again else str(label), members))
    own = {str(row["label"]): row["mean"] for row in rows[rows["column"] == OWN].to_dict("records")[::-1]}
    return sorted(found, key=lambda line: -own.get(line[1]["label"].iloc[0], 0.0))
