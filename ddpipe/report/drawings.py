"""Which figures a dataset has, with their file names and words; one that would show nothing is left out."""

import re
from dataclasses import dataclass

import pandas as pd

from ddpipe.report import figures
from ddpipe.report.figures import Style
from ddpipe.report.spent import kind, left_out


@dataclass(frozen=True)
class Drawing:
    name: str  # of the file, without its ending
    png: bytes
    alternative: str  # for those who cannot see it
    caption: str


def draw(dataset: str, frame: pd.DataFrame, losses: pd.DataFrame, look: dict[str, Style], dpi: int) -> list[Drawing]:
    """The figures of `dataset` from frame.collect's and frame.losses' tables."""
    found = []
    if frame["mean"].notna().any():
        found.append(
            Drawing(
                "accuracy_vs_ipc",
                figures.accuracy_vs_ipc(frame, look, dpi),
                f"Line chart of test accuracy on {dataset} against images per class; its numbers stand in the table",
                "Accuracy on the cells' own network against images per class; bars are one standard deviation.",
            )
        )
    if len(transferred := figures.transferred(frame)):
        found.append(
            Drawing(
                "cross_architecture",
                figures.cross_architecture(transferred, look, dpi),
                f"Dot chart of test accuracy on {dataset} for each evaluation network; its numbers stand in the table",
                "Accuracy of the same sets on other networks, each with its protocol; bars are one standard deviation.",
            )
        )
    for hardware, costly in figures.costly(frame).groupby("spent_on", sort=False):
        found.append(
            Drawing(
                f"accuracy_vs_seconds_{slug(str(hardware))}",
                figures.accuracy_vs_seconds(costly, look, dpi),
                f"Scatter chart of test accuracy on {dataset} against {kind(costly)} of distillation and its experts",
                f"Accuracy against the {kind(costly)} of distillation and of the experts it used, on {hardware}; a "
                f"point per cell. {left_out(frame)}".rstrip(),
            )
        )
    if len(losses):
        found.append(
            Drawing(
                "loss",
                figures.loss_curves(losses, look, dpi),
                f"Line charts of the distillation loss on {dataset}, one per method",
                "Loss during distillation, mean over the sets, relative to its maximum.",
            )
        )
    return found


def slug(words: str) -> str:
    """As a part of a file's name."""
    return re.sub("[^a-z0-9]+", "_", words.lower()).strip("_")
