"""Figures of one dataset as PNG bytes; equal inputs give equal bytes. matplotlib is imported by what draws with it."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ddpipe.report.frame import LABELS, ipc_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow (too pale on white) and black, and Tol's wine and olive: colour-blind safe
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933")
GREYS = {"random": "#A0A0A0", "herding": "#707070", "kcenter": "#484848", "whole": "#000000"}
MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
GREY = "#555555"


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure of a project."""

    colour: str
    marker: str
    filled: bool


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """One fixed look per method: selections are grey, published methods filled, combinations of one's own hollow."""
    found = {}
    published = [method for method in LABELS if method not in GREYS]
    own = [method for method in methods if method not in LABELS]
    for names, filled in ((published, True), (own, False)):
        for i, method in enumerate(names):
            found[method] = Style(PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)], filled)
    for i, (method, colour) in enumerate(GREYS.items()):
        found[method] = Style(colour, MARKERS[-1 - i], True)
    return found


def accuracy_vs_ipc(frame: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Accuracy of the cells' own network against images per class: a line per method and protocol, error bars = std."""
    figure, axes = _canvas(7.0, 4.2, dpi)
    shown = _on_main_network(frame)
    protocols = list(dict.fromkeys(shown.loc[shown["ipc"] != "all", "protocol"]))
    for (method, protocol), group in shown.groupby(["method", "protocol"], sort=False):
        style, label = look[str(method)], group["label"].iloc[0]
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


def accuracy_vs_seconds(frame: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Accuracy against the device-seconds that the cell's sets took: a point per distilled cell, its IPC beside it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = _canvas(7.0, 4.2, dpi)
    shown = frame[frame["main"] & frame["distilled"] & (frame["distill_seconds"] > 0) & frame["mean"].notna()]
    for method, group in shown.groupby("method", sort=False):
        style, label = look[str(method)], group["label"].iloc[0]
        axes.errorbar(
            group["distill_seconds"], group["mean"], group["std"], label=label, linestyle="none", **_ink(style)
        )
        for _, row in group.iterrows():
            place = (row["distill_seconds"], row["mean"])
            axes.annotate(row["ipc"], place, xytext=(6, 4), textcoords="offset points", fontsize=8, color=GREY)
    if len(shown):
        axes.set_xscale("log")
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("device-seconds of distillation (at the points: images per class)")
    axes.set_ylabel("test accuracy, %")
    _legend(axes)
    return _png(figure)


def loss_curves(losses: pd.DataFrame, look: dict[str, Style], dpi: int) -> bytes:
    """Distillation loss against the iteration: a panel per method, a line per IPC, each relative to its own maximum."""
    from matplotlib.figure import Figure

    panels = list(losses.groupby("method", sort=False))
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(7.0, 0.5 + 2.1 * rows), dpi=dpi, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    ipcs = sorted(losses["ipc"].unique(), key=ipc_order)
    for axes, (method, group) in zip(grid.flat, panels, strict=False):
        for ipc, curve in group.groupby("ipc", sort=False):
            level = curve["loss"] / max(float(curve["loss"].abs().max()), np.finfo(float).tiny)
            dashes = DASHES[ipcs.index(ipc) % len(DASHES)]
            axes.plot(curve["iteration"], level, color=look[str(method)].colour, linestyle=dashes, label=f"IPC {ipc}")
        axes.set_title(group["label"].iloc[0], fontsize=10)
        _plain(axes)
        axes.legend(fontsize=7, frameon=False)
    figure.supxlabel("iteration", fontsize=9)
    figure.supylabel("loss / its maximum", fontsize=9)
    return _png(figure)


def _on_main_network(frame: pd.DataFrame) -> pd.DataFrame:
    """The measured rows on the network that the grid names for the cell, under any protocol."""
    own = frame.loc[frame["main"], ["cell", "network"]]
    shown = frame.merge(own, on=["cell", "network"])
    return shown[shown["mean"].notna()]


def _canvas(width: float, height: float, dpi: int) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
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
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "no result yet", transform=axes.transAxes, ha="center", color=GREY)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the default names matplotlib's version
    return buffer.getvalue()
