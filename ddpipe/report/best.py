"""Which measured accuracies are bold, and which sets store more than their images per class."""

import math

import pandas as pd

PLACE = ["network", "protocol", "ipc"]  # where accuracies are comparable, and what a selection must stand beside
RULE = (
    "Bold: the best measured accuracy of the distilled sets that share network, protocol, prepared form of the data "
    "and images per class, and every one within one standard error of it (of its mean: std / sqrt(n), numbers as "
    "shown); only where it beats the best selection of real images under the same protocol, network and images per "
    "class, and never of a single accuracy. A set that stores more than its images per class does not compete; where "
    "no selection stands beside, or one is still to be measured, nothing is bold."
)


def best(frame: pd.DataFrame) -> pd.Series:
    """Whether each row of `frame` (frame.collect) is bold, by RULE.

    Numbers are compared as they are shown, with one decimal. All results compete, in whatever state: what was reduced
    stands in the same table. If the best accuracy is a single one, its standard error is unknown and nothing is bold.
    """
    shown = frame.assign(mean=frame["mean"].round(1), std=frame["std"].round(1))
    selections = shown[shown["selection"]].groupby(PLACE)["mean"]
    selected = selections.agg(lambda means: means.max(skipna=False)).to_dict()  # NaN while one is missing
    found = pd.Series(False, index=frame.index)
    rivals = shown[shown["distilled"] & shown["mean"].notna() & (excess(shown) == "")]
    for (*place, _), group in rivals.groupby([*PLACE, "data"]):
        behind = (group["mean"].max() - group["mean"]).round(1)
        error = (group["std"] / group["n"] ** 0.5)[behind == 0].min()  # of equals the smaller one
        beats = group["mean"] > selected.get(tuple(place), math.inf)
        found[group.index] = (behind <= error + 1e-9) & beats & (group["n"] > 1)
    return found


def excess(frame: pd.DataFrame) -> pd.Series:
    """ "1.43 images a class" for each row whose set stores more than its images per class, to two decimals; else ""."""

    def words(ipc: str, worth: float) -> str:
        above = ipc != "all" and round(worth, 2) > int(ipc)  # NaN is above nothing
        return f"{worth:.2f} images a class" if above else ""

    return pd.Series([words(*row) for row in zip(frame["ipc"], frame["worth"], strict=True)], frame.index, dtype=object)
