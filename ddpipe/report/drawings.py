"""Which figures a dataset and the project have, with their file names and words; none that would show nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from ddpipe.config import Config
from ddpipe.report.figures import accuracy, canvas, costs, loss, taxonomy, transfer
from ddpipe.report.figures.style import SHADES, SHAPES, Style
from ddpipe.report.figures.vector import svg
from ddpipe.report.spent import left_out
from ddpipe.report.survey import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure with its words. It is written out when it is asked for: a page needs no PNG."""

    name: str  # of the file, without its ending
    about: str  # what it shows, for example a dataset: with `name` the beginning of its ids, no other on a page has it
    figure: "Figure"
    alternative: str  # for those who cannot see it
    caption: str
    dpi: int

    @cached_property
    def svg(self) -> str:
        """One element that can stand in an HTML page; `vector.standalone` makes it a file."""
        return svg(self.figure, f"{self.about}-{self.name}", self.alternative, self.caption)

    @cached_property
    def png(self) -> bytes:
        return canvas.png(self.figure, self.dpi)


def draw(dataset: str, frame: pd.DataFrame, losses: pd.DataFrame, look: dict[str, Style], dpi: int) -> list[Drawing]:
    """The figures of `dataset` from frame.collect's and frame.losses' tables."""
    found = []

    def add(name: str, figure: "Figure", alternative: str, caption: str) -> None:
        found.append(Drawing(name, dataset, figure, alternative, caption, dpi))

    if len(measured := accuracy.on_main_network(frame)):
        add(
            "accuracy_vs_ipc",
            accuracy.accuracy_vs_ipc(measured, look),
            f"Dot chart of test accuracy on {dataset} for each method and IPC; its numbers stand in the table",
            "Accuracy in percent on the cells' own network, a group for each protocol and network; bars are one "
            f"standard deviation, grey lines the selections under the same protocol. {SHADES}",
        )
    if len(transferred := transfer.transferred(frame)):
        add(
            "cross_architecture",
            transfer.cross_architecture(transferred, look),
            f"Table of test accuracy on {dataset} for each set and evaluation network; its numbers stand in the table",
            "Accuracy in percent of sets that were measured on several networks under one protocol; the darker, the "
            f"higher. Framed: the network for which a set was distilled. {SHAPES}",
        )
    if len(costly := costs.costly(frame)):
        add(
            "accuracy_vs_seconds",
            costs.accuracy_vs_seconds(costly, look),
            f"Dot chart of seconds of distillation and its experts beside test accuracy on {dataset}",
            "Seconds of distillation and of the experts it used, of the processor on a CPU and of the device on a GPU, "
            "beside the accuracy under the cell's own protocol, a group for each device. Bold: nothing cheaper is as "
            f"accurate. {left_out(frame)}".rstrip(),
        )
    if len(losses):
        add(
            "loss",
            loss.loss_curves(losses, look),
            f"Line charts of the distillation loss on {dataset}, one per method",
            "Loss during distillation, mean over the sets, relative to its maximum.",
        )
    return found


def overall(config: Config, frames: Mapping[str, pd.DataFrame], survey: Sequence[Table]) -> list[Drawing]:
    """The figures of the whole project, from `frames` (frame.collect_all) and the survey's tables filled with them."""
    tree = taxonomy.methods(config, frames, survey)
    return [
        Drawing(
            "taxonomy",
            "survey",
            taxonomy.taxonomy(tree),
            "Tree of the survey's methods by what the set must imitate, coloured by what is measured of them",
            "The survey's tree of methods (its Figure 3), from the objectives of the recipes; in blue what a "
            "factorised method learns in place of images. A name has the colour and the shape of its best result on "
            "any data, the squares beside it are the cells that the survey prints of it.",
            config.params.report.dpi,
        )
    ]
