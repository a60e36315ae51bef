"""Which figures a dataset has, with their file names and words; one that would show nothing is left out."""

from dataclasses import dataclass

import pandas as pd

from ddpipe.report import figures
from ddpipe.report.figures import Style


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
    if len(costly := figures.costly(frame)):
        found.append(
            Drawing(
                "accuracy_vs_seconds",
                figures.accuracy_vs_seconds(costly, look, dpi),
                f"Scatter chart of test accuracy on {dataset} against seconds of distillation and its experts",
                "Accuracy against the device-seconds of distillation and of the experts it used; a point per cell.",
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
