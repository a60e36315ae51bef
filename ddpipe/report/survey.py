"""The survey's Tables 1-4 as data: every printed cell, what this project measured in its place, and a verdict.

A measured value enters in the state that its settings have (ddpipe/publication), for the cell of its method, network
and protocol: the best state first. Own combinations stay in the reports of their datasets.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from ddpipe.report.best import best
from ddpipe.report.frame import COMPARABLE, NAN, key_of
from ddpipe.report.published import Published, cell_of
from ddpipe.states import State

TITLES = {
    "1": "Six datasets, each method's ConvNet",
    "2": "ImageNet-1K at 64x64 pixels, ConvNet of depth 4",
    "3": "Transfer on CIFAR-10 to ResNet-18 (RN-18) and ResNet-152 (RN-152)",
    "4": "Transfer on CIFAR-10 to ResNet-10 (RN-10) and DenseNet-121 (DN-121)",
}
DATASETS = {
    "mnist": "MNIST",
    "fashionmnist": "FashionMNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tinyimagenet": "Tiny ImageNet",
    "imagenet64": "ImageNet-1K",
}
NETWORKS = {"convnet": "ConvNet", "resnet18": "RN-18", "resnet152": "RN-152", "resnet10": "RN-10"}
NETWORKS |= {"densenet121": "DN-121"}
MISSING = "missing"
AGREES, ABOVE, BELOW = "agrees", "above", "below"
POINT = 1.0  # a difference of one percentage point is never held against a cell
FACTORISED = "◇"


@dataclass(frozen=True)
class Column:
    """One column of numbers; an empty `group` says that there is one heading only."""

    group: str
    name: str
    dataset: str
    ipc: str
    network: str


@dataclass(frozen=True)
class Measured:
    """What was measured in place of a printed value: as published if there is such a result, else the best stand-in."""

    evaluation: str  # cell, network and protocol, as its file in data/results is called
    mean: float
    std: float  # NaN of a single accuracy
    n: int
    state: State
    why: str  # what keeps it from being as published, in words
    verdict: str = ""  # AGREES, ABOVE or BELOW; "" where it is not comparable or there is nothing to compare with
    difference: float = NAN  # measured less reference, in points
    error: float = NAN  # standard error of the difference


@dataclass(frozen=True)
class Cell:
    """One printed cell. All accuracies are rounded as they are shown, so whatever is judged can be checked by eye."""

    dataset: str
    ipc: str
    network: str
    published: Published
    gridded: bool  # the grid has a row for it, measured or not
    measured: Measured | None = None
    best_measured: bool = False  # by ddpipe/report/best.py, among what the tables show of its dataset

    @property
    def printed(self) -> bool:
        """Whether the survey has a number here, not a dash."""
        return not math.isnan(self.published.mean)

    @property
    def state(self) -> str:
        """Of what was measured; MISSING: printed and in the grid, but without any result; "": nothing to have one."""
        if self.measured:
            return self.measured.state
        return MISSING if self.gridded and self.printed else ""


@dataclass(frozen=True)
class Line:
    """One method; an entry is a cell and how many columns it takes (Whole: all of its dataset)."""

    method: str
    label: str
    scheme: str
    factorised: bool
    entries: tuple[tuple[Cell | None, int], ...]

    @property
    def group(self) -> str:
        """Neighbouring lines of one group belong together."""
        return "factorised" if self.factorised else self.scheme

    @property
    def cells(self) -> list[Cell]:
        return [cell for cell, _ in self.entries if cell is not None]

    @property
    def printed(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.printed]


@dataclass(frozen=True)
class Table:
    number: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        return TITLES.get(self.number, "")

    @property
    def schemes(self) -> bool:
        """Whether the survey prints the schemes of the methods: in its first table only."""
        return self.number == "1"

    @property
    def printed(self) -> list[Cell]:
        return [cell for line in self.lines for cell in line.printed]

    def states(self) -> Counter[str]:
        """How many cells with a printed value are in which state: of State, MISSING, or "" (not in the grid)."""
        return Counter(cell.state for cell in self.printed)

    def verdicts(self) -> Counter[str]:
        """How many measured cells with a printed value agree with it, or not; "" where nothing is said."""
        return Counter(cell.measured.verdict for cell in self.printed if cell.measured)


def reference(published: Published) -> tuple[float, float]:
    """What a measured value is compared with (mean, std); NaN where nothing is known that it should be."""
    if published.doubtful and not math.isnan(published.source_mean):
        return published.source_mean, published.source_std
    return (NAN, NAN) if published.objection == "copied" else (published.mean, published.std)


def standard_error(*samples: tuple[float, float]) -> float:
    """Of a difference (or sum) of means: the root of the sum of std² / n.

    Each sample is its (std, n); one of which either is unknown (NaN) is left out, and NaN if nothing is known.
    """
    known = [std**2 / n for std, n in samples if not math.isnan(std) and not math.isnan(n)]
    return math.sqrt(sum(known)) if known else NAN


def judged(measured: Measured, published: Published) -> Measured:
    """`measured` with its verdict; without one where there is nothing to compare with. All numbers as printed.

    It agrees where the difference is at most one point or two standard errors of the difference.
    """
    against, spread = reference(published)
    if math.isnan(against) or measured.state not in COMPARABLE:
        return measured
    difference = round(measured.mean - against, 1)
    error = round(standard_error((measured.std, measured.n), (spread, published.n)), 1)
    within = abs(difference) <= POINT or abs(difference) <= 2 * error
    verdict = AGREES if within else ABOVE if difference > 0 else BELOW
    return replace(measured, verdict=verdict, difference=difference, error=error)


Key = tuple[str, str, str, str]  # method, dataset, IPC, network, as the survey calls them


def tables(survey: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> list[Table]:
    """The tables of `survey` (published.read) filled with what `frames` (dataset -> frame.collect) measured."""
    places: dict[Key, Place] = {}
    for dataset, frame in frames.items():
        places |= _places(dataset, frame)
    found = []
    for number, rows in survey.groupby("table", sort=True):
        cells: dict[str, dict[tuple[str, str, str], Cell]] = {}
        facts: dict[str, tuple[str, str, bool]] = {}
        for row in rows.to_dict("records"):
            where = (row["dataset"], row["ipc"], row["network"])
            facts.setdefault(row["method"], (row["label"], row["scheme"], row["factorized"] == "yes"))
            published, place = cell_of(row), places.get((row["method"], *where))
            own = judged(place.measured, published) if place and place.measured else None
            cell = Cell(*where, published, place is not None, own, place is not None and place.best)
            cells.setdefault(row["method"], {})[where] = cell
        columns = _columns(rows)
        lines = [Line(method, *facts[method], _entries(columns, of_method)) for method, of_method in cells.items()]
        found.append(Table(str(number), columns, tuple(lines)))
    return found


@dataclass(frozen=True)
class Place:
    """What the grid has in the place of a printed value."""

    measured: Measured | None
    best: bool


def _places(dataset: str, frame: pd.DataFrame) -> dict[Key, Place]:
    """By printed cell the result in the best state; bold is told among these and the selections of the dataset."""
    found = frame[frame["survey_network"] != ""]
    ranked = found.assign(rank=found["state"].map([*State, ""].index))  # then by how much it differs
    chosen: dict[Key, int] = {}  # the row of `frame`
    for i, row in ranked.sort_values(["rank", "differences"], kind="stable").iterrows():
        chosen.setdefault((row["survey_method"], dataset, row["ipc"], row["survey_network"]), i)
    bold = best(frame[frame.index.isin(chosen.values()) | frame["selection"]])
    return {key: Place(_measured(frame.loc[i]), bool(bold[i])) for key, i in chosen.items()}


def _columns(rows: pd.DataFrame) -> tuple[Column, ...]:
    """One for each dataset, IPC and network in the order of print, under groups as the survey has them."""
    keys = list(dict.fromkeys(zip(rows["dataset"], rows["ipc"], rows["network"], strict=True)))
    keys = [key for key in keys if key[1] != "all"]
    datasets, networks = {key[0] for key in keys}, {key[2] for key in keys}
    columns = []
    for dataset, ipc, network in keys:
        names = [DATASETS.get(dataset, dataset)] if len(datasets) > 1 else []
        names += [f"IPC {ipc}"] + ([NETWORKS.get(network, network)] if len(networks) > 1 else [])
        columns.append(Column(" ".join(names[:-1]), names[-1], dataset, ipc, network))
    return tuple(columns)


def _entries(
    columns: Iterable[Column], cells: Mapping[tuple[str, str, str], Cell]
) -> tuple[tuple[Cell | None, int], ...]:
    entries: list[tuple[Cell | None, int]] = []
    for column in columns:
        whole = cells.get((column.dataset, "all", column.network))
        if whole is None:
            entries.append((cells.get((column.dataset, column.ipc, column.network)), 1))
        elif entries and entries[-1][0] is whole:
            entries[-1] = (whole, entries[-1][1] + 1)
        else:
            entries.append((whole, 1))
    return tuple(entries)


def _measured(row: pd.Series) -> Measured | None:
    if not row["state"]:
        return None
    numbers = round(row["mean"], 1), round(row["std"], 1), int(row["n"])
    return Measured(key_of(row).name, *numbers, State(row["state"]), row["why"])
