"""What is seen of cells while they are distilled: the figures of the stage `course`, for the report and the page."""

import pandas as pd

from ddpipe.config import Config
from ddpipe.pipeline import courses
from ddpipe.report.drawings import Drawing
from ddpipe.report.figures.course import accuracy_over_iterations
from ddpipe.report.figures.space import Placed, feature_space
from ddpipe.report.figures.style import SHADES, Style
from ddpipe.report.frame import ipc_order

COLUMNS = ("cell", "method", "label", "ipc", "network", "protocol", "state")


def curves(config: Config, frame: pd.DataFrame) -> pd.DataFrame:
    """The accuracies over iterations of the cells in `frame`: the main row's COLUMNS, and `iteration mean std n`."""
    found = []
    for row in frame[frame["main"]].to_dict("records"):
        if (course := courses.course(config, row["cell"])) is not None:
            own = {"iteration": course.iterations, "mean": course.mean, "std": course.std, "n": course.n}
            found.append(pd.DataFrame(own).assign(**{name: row[name] for name in COLUMNS}))
    columns = [*COLUMNS, "iteration", "mean", "std", "n"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def levels(config: Config, frame: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """What selections reach with the IPC, network and protocol of each cell in `shown`: `cell method label mean`."""
    kinds = {cell: config.resolved(cell).kind for cell in frame["cell"].unique()}
    same = ["ipc", "network", "protocol"]
    chosen = frame[(frame["cell"].map(kinds) == "selection") & frame["mean"].notna()]
    beside = shown[["cell", *same]].drop_duplicates().merge(chosen[[*same, "method", "label", "mean"]], on=same)
    return beside[["cell", "method", "label", "mean"]]


def placed(config: Config, frame: pd.DataFrame, look: dict[str, Style]) -> list[Placed]:
    """The cells of the largest IPC of which images were placed among real ones."""
    found = [
        Placed(row["label"], row["ipc"], look[row["method"]], row["state"], space)
        for row in frame[frame["main"]].to_dict("records")
        if (space := courses.space(config, row["cell"])) is not None
    ]
    largest = max((cell.ipc for cell in found), key=ipc_order, default="")
    return [cell for cell in found if cell.ipc == largest]


def draw(config: Config, dataset: str, frame: pd.DataFrame, look: dict[str, Style], dpi: int) -> list[Drawing]:
    """The figures of `dataset` that have something to show, from frame.collect's table."""
    found = []
    if len(shown := curves(config, frame)):
        beside = levels(config, frame, shown)
        numbers = " or ".join(map(str, sorted(shown["n"].unique())))
        told = ", grey lines the selections of as many images on the same network under the same protocol"
        found.append(
            Drawing(
                "accuracy_vs_iteration",
                dataset,
                accuracy_over_iterations(shown, beside, look),
                f"Line charts of test accuracy on {dataset} over the iterations of a distillation, one per cell",
                "Accuracy in percent of new networks trained on set 0 as it was after so many iterations, the last of "
                "which is the result: nothing is chosen by the others. Bands are one standard deviation of "
                f"{numbers} networks{told if len(beside) else ''}. {SHADES}",
                dpi,
            )
        )
    if cells := placed(config, frame, look):
        found.append(
            Drawing(
                "feature_space",
                dataset,
                feature_space(cells),
                f"Scatter charts of real and synthetic images of {dataset} in the features of a network",
                words(cells[0].ipc, cells[0].space),
                dpi,
            )
        )
    return found


def words(ipc: str, space: courses.Space) -> str:
    """The caption of the feature space, with what it does not show."""
    return (
        f"Set 0 of cells with IPC {ipc}, as many random real images, and other real ones, in the {space.features} "
        f"features of the first network of experts {space.experts}, which were trained on the real data: two principal "
        f"components ({sum(space.explained):.0%} of the variance) and t-SNE. Coverage (Naeem et al. 2020) is the share "
        f"of {space.reference} real images that lie no farther from an image of the set than from the "
        f"{space.neighbours}th of their nearest others. Not shown: labels, and how well the images train a network. "
        "Another network has other features, and distances between groups mean nothing in t-SNE."
    )
