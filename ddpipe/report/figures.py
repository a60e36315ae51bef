"""Figures of one dataset as PNG bytes; equal inputs give equal bytes. matplotlib is imported by what draws with it."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ddpipe.config import Config
from ddpipe.report.frame import ipc_order, labels
from ddpipe.report.spent import kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow (too pale on white) and black, and Tol's wine and olive: colour-blind safe
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933")
GREYS = ("#A0A0A0", "#707070", "#484848", "#000000")
MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
GREY = "#555555"


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure of a project."""

    colour: str
    marker: str
    filled: bool


def looks(config: Config) -> dict[str, Style]:
    """One fixed look per method of a project and of the survey."""
    chosen = {name for name, recipe in config.recipes.items() if recipe.parts.get("kind") == "selection"}
    known = [*labels(config), *config.recipes]
    methods = [*config.params.methods, *config.recipes]
    selections = [name for name in methods if name in chosen]
    learned = [name for name in known if name not in chosen]
    return styles(selections, learned, [name for name in methods if name not in known])


def styles(selections: Iterable[str], published: Iterable[str], own: Iterable[str]) -> dict[str, Style]:
    """Selections are grey, published methods filled, combinations of one's own hollow."""
    found = {}
    for names, filled in ((published, True), (own, False)):
        for i, method in enumerate(dict.fromkeys(names)):
            found[method] = Style(PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)], filled)
    for i, method in enumerate(dict.fromkeys(selections)):
        found[method] = Style(GREYS[i % len(GREYS)], MARKERS[-1 - i % len(MARKERS)], True)
    return found


def lines(shown: pd.DataFrame, look: dict[str, Style]) -> dict[str, Style]:
    """Label -> how it looks: as its method, and each further variant of a method with the next marker."""
    found: dict[str, Style] = {}
    for method, called in shown.groupby("method", sort=False)["label"]:
        style = look[str(method)]
        for i, label in enumerate(called.unique()):
            marker = MARKERS[(MARKERS.index(style.marker) + i) % len(MARKERS)]
            found[label] = replace(style, marker=marker, filled=style.filled != (i % 2 == 1))
    return found


def accuracy_vs_ipc(frame: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Accuracy of the cells' own network against images per class: a line per method and protocol, error bars = std."""
    shown = _on_main_network(frame)
    figure, axes = _canvas(shown.groupby(["label", "protocol"]).ngroups, dpi)
    protocols = list(dict.fromkeys(shown.loc[shown["ipc"] != "all", "protocol"]))
    looks = lines(shown, look)
    for (label, protocol), group in shown.groupby(["label", "protocol"], sort=False):
        style = looks[label]
        curve, whole = group[group["ipc"] != "all"], group[group["ipc"] == "all"]
        for mean in whole["mean"]:
            axes.axhline(mean, color=style.colour, linestyle=DASHES[2], linewidth=1.0, label=label)
        if len(curve):
            dashes = DASHES[protocols.index(str(protocol)) % len(DASHES)]
            label += f" ({protocol})" if len(protocols) > 1 else ""
            axes.errorbar(
                curve["ipc"].astype(int), curve["mean"], curve["std"], label=label, linestyle=dashes, **_ink(style)
            )
    ipcs = sorted({int(ipc) for ipc in shown["ipc"] if ipc != "all"})
    axes.set_xscale("log")
    axes.set_xticks(ipcs, [str(ipc) for ipc in ipcs])
    axes.set_xticks([], minor=True)
    if ipcs:
        axes.set_xlim(ipcs[0] / 1.3, ipcs[-1] * 1.3)
    axes.set_xlabel("images per class")
    axes.set_ylabel("test accuracy, %")
    _legend(axes)
    return _png(figure)


def transferred(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cells that were measured on more than one network, those on the cell's own network first."""
    measured = frame[frame["mean"].notna()].sort_values("main", ascending=False, kind="stable")
    networks = measured.groupby("cell")["network"].transform("nunique")
    return measured[networks > 1]


def cross_architecture(shown: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Accuracy on each network and protocol: a panel per IPC, a dot per method, error bars = std.

    Args:
        shown: not empty; rows of `transferred`.
    """
    from matplotlib.figure import Figure

    ipcs = sorted(shown["ipc"].unique(), key=ipc_order)
    places = list(dict.fromkeys(zip(shown["network"], shown["protocol"], strict=True)))
    networks = list(dict.fromkeys(shown["network"]))
    places.sort(key=lambda place: networks.index(place[0]))  # the protocols of a network stand together
    looks = lines(shown, look)
    step = min(0.16, 0.8 / len(looks))
    width = max(7.0, 2.5 + len(places) * max(1.15, 0.07 * len(looks)))
    figure = Figure(figsize=(width, 0.8 + 1.9 * len(ipcs)), dpi=dpi, layout="constrained")
    labelled = set()
    for axes, ipc in zip(figure.subplots(len(ipcs), sharex=True, squeeze=False).flat, ipcs, strict=True):
        for label, group in shown[shown["ipc"] == ipc].groupby("label", sort=False):
            shift = (list(looks).index(label) - (len(looks) - 1) / 2) * step
            x = [places.index(place) + shift for place in zip(group["network"], group["protocol"], strict=True)]
            said = None if label in labelled else label
            axes.errorbar(x, group["mean"], group["std"], label=said, linestyle="none", **_ink(looks[label]))
            labelled.add(label)
        _plain(axes)
        axes.grid(axis="x", visible=False)
        for border in range(1, len(places)):
            axes.axvline(border - 0.5, color="#E4E4E4", linewidth=0.6)
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_title("whole set" if ipc == "all" else f"IPC {ipc}", fontsize=10)
    axes.set_xticks(range(len(places)), [f"{network}\n{protocol}" for network, protocol in places])
    figure.supylabel("test accuracy, %", fontsize=9)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return _png(figure)


def costly(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured distilled cells on their own network of which is known what they cost on one device."""
    return frame[frame["main"] & frame["distilled"] & (frame["spent"] > 0) & frame["mean"].notna()]


def accuracy_vs_seconds(shown: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Accuracy against the seconds that a cell's sets and experts cost: a point per distilled cell, its IPC beside it.

    Args:
        shown: not empty; rows of `costly`, all `spent_on` one device.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = _canvas(shown["label"].nunique(), dpi)
    looks = lines(shown, look)
    for label, group in shown.groupby("label", sort=False):
        style = looks[label]
        axes.errorbar(group["spent"], group["mean"], group["std"], label=label, linestyle="none", **_ink(style))
        for _, row in group.iterrows():
            place = (row["spent"], row["mean"])
            note = axes.annotate(row["ipc"], place, xytext=(6, 4), textcoords="offset points", fontsize=8, color=GREY)
            note.set_in_layout(False)  # hundreds of them: measuring each takes longer than drawing it
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{kind(shown)} of distillation and its experts (at the points: images per class)")
    axes.set_ylabel("test accuracy, %")
    _legend(axes)
    return _png(figure)


def loss_curves(losses: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Distillation loss against the iteration: a panel per method, a line per IPC, each relative to its own maximum.

    All panels are parts of one axes: axes of their own would cost most of a page's time.

    Args:
        losses: not empty; columns of `ddpipe.report.frame.losses`.
    """
    from matplotlib.figure import Figure

    panels, looks = list(losses.groupby("label", sort=False)), lines(losses, look)
    ipcs = sorted(losses["ipc"].unique(), key=ipc_order)
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(7.0, 0.35 + 1.5 * rows), dpi=dpi)
    axes = figure.add_axes((0, 0, 1, 1.5 * rows / (0.35 + 1.5 * rows)), xlim=(0, columns), ylim=(rows, 0))
    axes.set_axis_off()
    for ipc, dashes in zip(ipcs, DASHES * len(ipcs), strict=False):
        axes.plot([], [], color=GREY, linestyle=dashes, label=f"IPC {ipc}")
    figure.legend(loc="upper center", ncols=len(ipcs), frameon=False, fontsize=8)
    for i, (label, group) in enumerate(panels):
        left, right = i % columns + 0.14, i % columns + 0.94
        top, bottom = i // columns + 0.2, i // columns + 0.82
        last = max(1, int(group["iteration"].max()))
        levels = group["loss"] / group.groupby("ipc")["loss"].transform(_largest)
        lowest = min(0.0, float(levels.min()))  # a loss may be negative
        for level in (lowest, 1.0):
            y = bottom - (level - lowest) / (1 - lowest) * (bottom - top)
            axes.plot([left, right], [y, y], color="#D0D0D0", linewidth=0.6)
            axes.text(left - 0.02, y, f"{level:.2g}", fontsize=7, color=GREY, ha="right", va="center")
        for ipc, curve in group.assign(level=levels).groupby("ipc", sort=False):
            x = left + curve["iteration"] / last * (right - left)
            y = bottom - (curve["level"] - lowest) / (1 - lowest) * (bottom - top)
            axes.plot(x, y, color=looks[label].colour, linestyle=DASHES[ipcs.index(ipc) % len(DASHES)], linewidth=1.2)
        axes.text(left, top - 0.06, label, fontsize=9, va="bottom")
        axes.text(left, bottom + 0.03, "0", fontsize=7, color=GREY, va="top")
        axes.text(right, bottom + 0.03, f"iteration {last:,}", fontsize=7, color=GREY, ha="right", va="top")
    return _png(figure)


def _largest(losses: pd.Series) -> float:
    return max(float(losses.abs().max()), np.finfo(float).tiny)


def _on_main_network(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured rows on the network that the grid names for the cell, under any protocol."""
    own = frame.loc[frame["main"], ["cell", "network"]]
    shown = frame.merge(own, on=["cell", "network"])
    return shown[shown["mean"].notna()]


def _canvas(labels: int, dpi: int) -> "tuple[Figure, Axes]":
    """A figure with one axes, high enough for a legend of so many labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, max(4.2, 0.4 + 0.19 * labels)), dpi=dpi, layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def _ink(style: Style) -> dict[str, Any]:
    face = style.colour if style.filled else "white"
    return {
        "color": style.colour,
        "marker": style.marker,
        "markersize": 5.5,
        "markerfacecolor": face,
        "linewidth": 1.4,
        "elinewidth": 0.9,
        "capsize": 2.5,
    }


def _legend(axes: "Axes") -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the default names matplotlib's version
    return buffer.getvalue()
