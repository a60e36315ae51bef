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

OWN = "own network"
ROW, NAMES, SIDE, SLANT = 14.0, 140.0, 39.0, -40.0  # points of a line, of names, of a cell; degrees of the names above
GAP = 5.0
MOST = 4  # networks side by side beside a cell's own
PALE, DARK = "#EAF2FA", "#123A66"
TURN = 0.62  # of the way from pale to dark: white is seen better than ink from here on


def transferred(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cells that were measured on more than one network, those on the cell's own network first."""
    measured = frame[frame["mean"].notna()].sort_values("main", ascending=False, kind="stable")
    networks = measured.groupby("cell")["network"].transform("nunique")
    return measured[networks > 1]


def cross_architecture(shown: pd.DataFrame, look: dict[str, Style]) -> "Figure":
    """A row per set, a column per network: accuracy, the shape of its state, and a colour by the accuracy.

    The first column is each cell's own network under its own protocol. Sets that were measured on the same networks
    stand together; what has a further protocol on a network has a further row.

    Args:
        shown: not empty; rows of `transferred`.
    """
    parts = blocks(shown)
    names = [name for block in parts for name, _ in block.lines]
    left = min(NAMES, 22 + max(map(len, names)) * canvas.LETTER)
    heads = [12 + max(map(len, block.columns)) * canvas.LETTER * 0.64 for block in parts]  # the sine of the slant
    figure = canvas.sheet(sum(heads) + sum(8 + sum(block.gaps) + ROW * len(block.lines) for block in parts))
    axes = canvas.page(figure)
    low, high = float(shown["mean"].min()), float(shown["mean"].max())
    y = 0.0
    for block, head in zip(parts, heads, strict=True):
        y += head
        for i, name in enumerate(block.columns):
            place = (left + (i + 0.6) * SIDE, y - 4)
            canvas.say(axes, *place, name, color=INK, ha="right", rotation=SLANT, rotation_mode="anchor")
        for (name, rows), apart in zip(block.lines, block.gaps, strict=True):
            y += apart
            canvas.say(axes, left - 18, y + 10, canvas.cut(name, left - 22), ha="right", color=INK)
            axes.plot([left - 9], [y + 7], **look[rows[0]["method"]].ink(rows[0]["state"]))
            for row in rows:
                x, share = left + block.columns.index(row["column"]) * SIDE, (row["mean"] - low) / (high - low or 1)
                _cell(axes, x, y, row, share)
            y += ROW
        y += 8
    return figure


def _cell(axes: "Axes", x: float, y: float, row: dict[str, Any], share: float) -> None:
    """One accuracy; `share` of the way from the lowest to the highest one of the figure."""
    right, bottom = x + SIDE - 1, y + ROW - 1
    axes.fill([x, right, right, x], [y, y, bottom, bottom], color=mixed(PALE, DARK, share), linewidth=0)
    number, ink = f"{row['mean']:.1f}{State(row['state']).shape}", "#FFFFFF" if share > TURN else INK
    canvas.say(axes, x + SIDE / 2, y + 10, number, ha="center", color=ink)


@dataclass(frozen=True)
class Block:
    columns: list[str]
    lines: list[tuple[str, list[dict[str, Any]]]]  # name, results

    @property
    def gaps(self) -> list[float]:
        """Points above each line: those of one IPC stand together."""
        ipcs = [results[0]["ipc"] for _, results in self.lines]
        return [0.0, *(0.0 if one == other else GAP for one, other in pairwise(ipcs))]


def blocks(shown: pd.DataFrame) -> list[Block]:
    """The sets by the networks on which they were measured: fewer networks go with more where these include them."""
    own = shown[shown["main"]].drop_duplicates("cell").set_index("cell")["network"]
    named = shown.assign(column=shown["network"].where(shown["network"] != shown["cell"].map(own), OWN))
    named = named[["cell", "method", "label", "ipc", "protocol", "state", "mean", "column"]]
    named["again"] = named.groupby(["cell", "column"]).cumcount()
    named = named[(named["again"] == 0) | (named["column"] != OWN)]
    places = {cell: tuple(dict.fromkeys(rows["column"])) for cell, rows in named.groupby("cell", sort=False)}
    found, left_over = [], list(places)
    for networks in sorted(dict.fromkeys(places.values()), key=lambda names: -len(names)):
        inside = [cell for cell in left_over if set(places[cell]) <= set(networks)]
        left_over = [cell for cell in left_over if cell not in inside]
        rows = named[named["cell"].isin(inside)]
        others = list(rows.loc[rows["column"] != OWN, "column"].value_counts().index)  # the most frequent ones first
        for start in range(0, len(others), MOST):
            columns = others[start : start + MOST]
            part = rows[rows["cell"].isin(rows.loc[rows["column"].isin(columns), "cell"])]
            found.append(Block([OWN, *columns], _lines(part[part["column"].isin([OWN, *columns])])))
    return found


def _lines(rows: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    """A line a set, by IPC, then those first that are the best on their own networks."""
    own = rows[rows["column"] == OWN].set_index("cell")["mean"]
    found = []
    for (cell, again), members in rows.groupby(["cell", "again"], sort=False):
        results = members.to_dict("records")
        ipc = results[0]["ipc"]
        name = f"{results[0]['label']}, {'whole' if ipc == 'all' else ipc}"
        name += f", {results[0]['protocol']}" if again else ""
        found.append(((ipc_order(ipc), -own.get(cell, 0.0), cell, again), (name, results)))
    return [line for _, line in sorted(found, key=lambda entry: entry[0])]
