"""The survey's Tables 1-4 as data: every printed cell, what this project measured in its place, and a verdict.

A measured value enters in the state that its settings have (ddpipe/publication), for the cell of its method, network
and protocol: the best state first. Own combinations stay in the reports of their datasets.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from ddpipe.report.frame import COMPARABLE, NAN
from ddpipe.report.published import Published
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
NO_TARGET = ("1", "6", "9", "10")  # objections that the printed number belongs to another row
BASELINE = "-"  # the scheme of Random, Herding and Whole, which no rule calls best
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
    best_published: bool = False
    best_measured: bool = False

    @property
    def missing(self) -> bool:
        """In the grid and printed, but without any result."""
        return self.gridded and self.measured is None and not math.isnan(self.published.mean)


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

    def states(self) -> Counter[str]:
        """How many cells with a printed value are in which state: of State, MISSING, or "" (not in the grid)."""
        printed = [c for line in self.lines for c in line.cells if not math.isnan(c.published.mean)]
        return Counter(c.measured.state if c.measured else MISSING if c.missing else "" for c in printed)

    def verdicts(self) -> Counter[str]:
        """How many measured cells with a printed value agree with it, or not; "" where nothing is said."""
        printed = [c for line in self.lines for c in line.cells if not math.isnan(c.published.mean)]
        return Counter(c.measured.verdict for c in printed if c.measured)


RANK = {state: i for i, state in enumerate(State)}


def reference(published: Published) -> tuple[float, float]:
    """What a measured value is compared with (mean, std); NaN where nothing is known that it should be."""
    if published.doubtful and not math.isnan(published.source_mean):
        return published.source_mean, published.source_std
    return (NAN, NAN) if published.doubtful in NO_TARGET else (published.mean, published.std)


def tolerance(one: float, other: float) -> float:
    """The largest difference that counts as agreement: two pooled stds, or one point where those are less.

    The pooled std of `one` and `other` is the root of their mean square; an unknown one (NaN) is left out.
    """
    known = [std for std in (one, other) if not math.isnan(std)]
    pooled = math.sqrt(sum(std**2 for std in known) / len(known)) if known else 0.0
    return max(2 * pooled, POINT)


def judged(measured: Measured, published: Published) -> Measured:
    """`measured` with its verdict; without one where there is nothing to compare with. All numbers as printed."""
    against, spread = reference(published)
    if math.isnan(against) or measured.state not in COMPARABLE:
        return measured
    difference = round(measured.mean - against, 1)
    verdict = AGREES if abs(difference) <= tolerance(measured.std, spread) else ABOVE if difference > 0 else BELOW
    return replace(measured, verdict=verdict, difference=difference)


def tables(survey: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> list[Table]:
    """The tables of `survey` (published.read) filled with what `frames` (dataset -> frame.collect) measured."""
    found_at: dict[tuple[str, str, str, str], tuple[tuple[int, int], Measured]] = {}
    gridded: set[tuple[str, str, str, str]] = set()
    for dataset, frame in frames.items():
        for _, row in frame[frame["survey_network"] != ""].iterrows():
            key = (row["survey_method"], dataset, row["ipc"], row["survey_network"])
            gridded.add(key)
            if row["state"]:  # the best state, then the one that is most like the published
                rank = RANK[row["state"]], row["differences"]
                if key not in found_at or rank < found_at[key][0]:
                    found_at[key] = rank, _measured(row)
    found = []
    for number, rows in survey.groupby("table", sort=True):
        cells: dict[str, dict[tuple[str, str, str], Cell]] = {}
        facts: dict[str, tuple[str, str, bool]] = {}
        for row in rows.to_dict("records"):
            where = (row["dataset"], row["ipc"], row["network"])
            facts.setdefault(row["method"], (row["label"], row["scheme"], row["factorized"] == "yes"))
            published = Published(*(row[f] for f in ("mean", "std", "doubtful", "source_mean", "source_std", "note")))
            key = (row["method"], *where)
            own = judged(found_at[key][1], published) if key in found_at else None
            cells.setdefault(row["method"], {})[where] = Cell(*where, published, key in gridded, own)
        columns = _columns(rows)
        lines = [Line(method, *facts[method], _entries(columns, of_method)) for method, of_method in cells.items()]
        found.append(_with_best(Table(str(number), columns, tuple(lines))))
    return found


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


def _measured(row: pd.Series) -> Measured:
    evaluation = f"{row['cell']}.{row['network']}.{row['protocol']}"
    numbers = round(row["mean"], 1), round(row["std"], 1), int(row["n"])
    return Measured(evaluation, *numbers, State(row["state"]), row["why"])


def _with_best(table: Table) -> Table:
    """The same table with the best cells of each column marked, for printed and measured values separately."""
    candidates: dict[tuple[str, str, str], list[tuple[bool, Cell]]] = {}
    for line in table.lines:
        for cell in line.cells:
            if line.scheme != BASELINE:
                candidates.setdefault((cell.dataset, cell.ipc, cell.network), []).append((line.factorised, cell))

    def marked(line: Line, cell: Cell | None) -> Cell | None:
        if cell is None or line.scheme == BASELINE:
            return cell
        rivals = candidates[cell.dataset, cell.ipc, cell.network]
        if table.number == "1":
            rivals = [(factorised, rival) for factorised, rival in rivals if factorised == line.factorised]
        places = 2 if table.number == "1" and not line.factorised else 1
        return replace(
            cell,
            best_published=_among(places, cell.published.mean, [rival.published.mean for _, rival in rivals]),
            best_measured=_among(places, _mean(cell), [_mean(rival) for _, rival in rivals]),
        )

    lines = [replace(line, entries=tuple((marked(line, c), span) for c, span in line.entries)) for line in table.lines]
    return replace(table, lines=tuple(lines))


def _mean(cell: Cell) -> float:
    """What was measured as published."""
    return cell.measured.mean if cell.measured and cell.measured.state == State.PUBLISHED else NAN


def _among(places: int, value: float, values: Iterable[float]) -> bool:
    """Whether fewer than `places` of `values` are higher; equals share a place."""
    return not math.isnan(value) and sum(other > value for other in values) < places
