"""The same sets on other networks than those they were distilled for, as a table of colours."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from ddpipe.report.figures import canvas
from ddpipe.report.figures.style import INK, Style, mixed
from ddpipe.report.frame import ipc_order
from ddpipe.states import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, NAMES, SIDE, SLANT = 14.0, 140.0, 39.0, -40.0  # points of a line, of names, of a cell; degrees of the names above
GAP, HEAD = 5.0, 15.0  # above another IPC; above the networks' names, for the protocol's
MOST = 4  # networks side by side beside the first one
PALE, DARK, FRAME = "#EAF2FA", "#123A66", "#E0A100"
TURN = 0.62  # of the way from pale to dark: white is seen better than ink from here on


def transferred(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the sets that were measured on more than one network under one protocol.

    In column `home`, whether the network is that for which the set was distilled.
    """
    own = frame[frame["main"]].drop_duplicates("cell").set_index("cell")["network"]
    measured = frame[frame["mean"].notna()].assign(home=frame["network"] == frame["cell"].map(own))
    networks = measured.groupby(["protocol", "cell"])["network"].transform("nunique")
    return measured[networks > 1]


def cross_architecture(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """A block for each protocol, in it a row per set and a column per network: accuracy, shape of its state, a colour.

    A frame tells the network for which a set was distilled. Accuracies under different protocols never stand in one
    block: between them a network is not all that differs.

    Args:
        shown: not empty; rows of `transferred`.
    """
    parts = blocks(shown)
    names = [name for block in parts for name, _ in block.lines]
    left = min(NAMES, 23 + max(map(len, names)) * canvas.LETTER)
    slanted = 0.64 * canvas.LETTER  # a letter's height, by the sine of the slant
    heads = [HEAD + 12 + max(map(len, block.columns)) * slanted for block in parts]
    figure = canvas.sheet(sum(heads) + sum(8 + sum(block.gaps) + ROW * len(block.lines) for block in parts))
    axes = canvas.page(figure)
    low, high = float(shown["mean"].min()), float(shown["mean"].max())
    y = 0.0
    for block, head in zip(parts, heads, strict=True):
        canvas.say(axes, 2, y + 12, f"protocol {block.protocol}", color=INK, fontsize=canvas.HEAD)
        y += head
        for i, name in enumerate(block.columns):
            place = (left + (i + 0.6) * SIDE, y - 4)
            canvas.say(axes, *place, name, color=INK, ha="right", rotation=SLANT, rotation_mode="anchor")
        for (name, rows), apart in zip(block.lines, block.gaps, strict=True):
            y += apart
            canvas.say(axes, left - 18, y + 10, canvas.cut(name, left - 22), ha="right", color=INK)
            axes.plot([left - 9], [y + 7], **look[rows[0]["method"]].ink(rows[0]["state"]))
            for row in rows:
                x, share = left + block.columns.index(row["network"]) * SIDE, (row["mean"] - low) / (high - low or 1)
                _cell(axes, x, y, row, share)
            y += ROW
        y += 8
    return figure


def _cell(axes: "Axes", x: float, y: float, row: dict[str, Any], share: float) -> None:
    """One accuracy; `share` of the way from the lowest to the highest one of the figure."""
    right, bottom = x + SIDE - 1, y + ROW - 1
    axes.fill([x, right, right, x], [y, y, bottom, bottom], color=mixed(PALE, DARK, share), linewidth=0)
    if row["home"]:
        inside = [x + 1, right - 1, right - 1, x + 1, x + 1], [y + 1, y + 1, bottom - 1, bottom - 1, y + 1]
        axes.plot(*inside, color=FRAME, linewidth=1.2)
    number, ink = f"{row['mean']:.1f}{State(row['state']).shape}", "#FFFFFF" if share > TURN else INK
    canvas.say(axes, x + SIDE / 2, y + 10, number, ha="center", color=ink)


@dataclass(frozen=True)
class Block:
    protocol: str
    columns: list[str]  # networks
    lines: list[tuple[str, list[dict[str, Any]]]]  # name, results

    @property
    def gaps(self) -> list[float]:
        """Points above each line: those of one IPC stand together."""
        ipcs = [results[0]["ipc"] for _, results in self.lines]
        return [0.0, *(0.0 if one == other else GAP for one, other in pairwise(ipcs))]


def blocks(shown: pd.DataFrame) -> list[Block]:
    """The sets under each protocol; where that has more networks than go side by side, the first one is repeated.

    First stands the network for which most of the sets were distilled, then those on which most were measured.
    """
    found = []
    for protocol, rows in shown.groupby("protocol", sort=False):
        order = rows.groupby("network", sort=False)["home"].agg(["sum", "size"])
        first, *others = order.sort_values(["sum", "size"], ascending=False, kind="stable").index
        for start in range(0, len(others), MOST):
            columns = [first, *others[start : start + MOST]]
            found.append(Block(str(protocol), columns, _lines(rows[rows["network"].isin(columns)], columns)))
    return found


def _lines(rows: pd.DataFrame, columns: list[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """A line a set measured on two of the networks or more, by IPC, then those first that are best on the first one."""
    found = []
    for cell, members in rows.groupby("cell", sort=False):
        results = sorted(members.to_dict("records"), key=lambda row: columns.index(row["network"]))
        ipc, best = results[0]["ipc"], results[0]["mean"] if results[0]["network"] == columns[0] else 0.0
        if len(results) > 1:
            name = f"{results[0]['label']}, {'whole' if ipc == 'all' else ipc}"
            found.append(((ipc_order(ipc), -best, cell), (name, results)))
    return [line for _, line in sorted(found, key=lambda entry: entry[0])]
