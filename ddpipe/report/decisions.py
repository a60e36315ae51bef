"""How each kind of test is decided: a pool of accuracies (ddpipe/report/pool.py) -> comparisons.

Each of them comes out as the claim says, or not. Means count as they are printed, to a tenth of a point; equal is not
higher.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import pairwise, product
from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from ddpipe.report.pool import COLUMN, chosen, distilled
from ddpipe.report.survey import DATASETS, NETWORKS, standard_error
from ddpipe.settings import claims

NAN = math.nan
Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One of the comparisons that decide a claim."""

    holds: bool
    words: str  # what was compared, with its numbers
    cells: tuple[Row, ...]  # of the pool
    difference: float = NAN  # in points, above `by` as claimed; NaN of what is no difference of accuracies
    error: float = NAN  # its standard error, where the numbers of accuracies are known
    by: float = 0.0

    @property
    def unsure(self) -> bool:
        """Whether it comes out by less than two standard errors."""
        return abs(self.difference - self.by) < 2 * self.error  # False where one is NaN

    @property
    def told(self) -> str:
        """The words with the difference, and its standard error where there is one."""
        if math.isnan(self.difference):
            return self.words
        return f"{self.words} ({self.difference:+.1f}{'' if math.isnan(self.error) else f' ± {self.error:.1f}'})"


@singledispatch
def decide(test: claims.Decision, pool: pd.DataFrame) -> list[Comparison]:
    """The comparisons that `test` asks for among the cells of `pool`."""
    raise NotImplementedError(f"no decision for {type(test).__name__}")


def error(*rows: Row) -> float:
    """Standard error of a difference (or sum) of their means; NaN where a deviation is unknown.

    Networks of one set count as independent, so it is rather too small.
    """
    samples = [(row["std"], row["n"]) for row in rows]
    known = all(n > 1 and not math.isnan(std) for std, n in samples)
    return standard_error(*samples) if known else NAN


def where(row: Row) -> str:
    """Data set and budget, in print another network than the ConvNet, here network and protocol, in words."""
    network = NETWORKS.get(row["network"], row["network"])
    beside = f"{network}, {row['protocol']}" if row["protocol"] else "" if row["native"] else network
    return budget(row) + (f" ({beside})" if beside else "")


def budget(row: Row) -> str:
    return f"{DATASETS.get(row['dataset'], row['dataset'])} IPC {row['ipc']}"


def higher(one: Row, other: Row, by: float = 0.0, words: str | None = None) -> Comparison:
    """Whether `one` is more than `by` points above `other`."""
    difference = round(round(one["mean"], 1) - round(other["mean"], 1), 1)
    told = f"{one['label']} {one['mean']:.1f}, {other['label']} {other['mean']:.1f} on {where(one)}"
    return Comparison(difference > by, words or told, (one, other), difference, error(one, other), by)


def grouped(pool: pd.DataFrame, keys: Sequence[str]) -> list[list[Row]]:
    """The rows of `pool` that agree in `keys`, in the order in which they are first met: pandas takes far longer."""
    found: dict[tuple, list[Row]] = {}
    for row in pool.to_dict("records"):
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(found.values())


def columns(pool: pd.DataFrame) -> Iterator[list[Row]]:
    """The rows of each column, best first."""
    once = pool.drop_duplicates(["cell", *COLUMN])  # Tables 3 and 4 repeat cells of Table 1
    for rows in grouped(once, COLUMN):
        yield sorted(rows, key=lambda row: -row["mean"])


def of(cells: claims.Cells, pool: pd.DataFrame) -> Callable[[Row], bool]:
    """Whether a row is one of `cells`."""
    index = set(distilled(pool, cells)["id"])
    return lambda row: row["id"] in index


def numbered(pool: pd.DataFrame) -> pd.DataFrame:
    return pool.assign(id=range(len(pool)))


@decide.register
def _(test: claims.Beats, pool: pd.DataFrame) -> list[Comparison]:
    pool = numbered(pool)
    these, those = of(test.these, pool), of(test.those, pool)
    found = []
    for rows in columns(pool):
        rivals = [row for row in rows if those(row)]
        found += [higher(row, rivals[0], test.by) for row in rows if these(row) and row not in rivals and rivals]
    return found


@decide.register
def _(test: claims.Leads, pool: pd.DataFrame) -> list[Comparison]:
    pool = numbered(pool)
    these, rivals = of(test.these, pool), of(test.rivals, pool)
    found = []
    for rows in columns(pool):
        own, others = [row for row in rows if these(row)], [row for row in rows if rivals(row) and not these(row)]
        if not others or not (own or test.absent == "against"):
            continue
        if len(own) < test.places:
            words = f"{others[0]['label']} {others[0]['mean']:.1f}, too few of the claimed, on {where(others[0])}"
            found.append(Comparison(False, words, (*own, others[0])))
        else:
            last = higher(own[test.places - 1], others[0])
            found.append(replace(last, cells=(*own[: test.places], others[0])))
    return found


@decide.register
def _(test: claims.Ahead, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    for rows in columns(pool):
        for first, second in test.pairs:
            ahead = [row for row in rows if row["stands"] == first]
            behind = [row for row in rows if row["stands"] == second]
            found += [higher(one, other, test.by) for one in ahead for other in behind]
    return found


def lost(test: claims.Drops | claims.DropsLess, these: claims.Cells, pool: pd.DataFrame) -> Iterator[tuple[Row, Row]]:
    """What each set of `these` is worth here and there."""
    own = distilled(pool, these)
    here = own[own["native"]] if test.here is None else chosen(own, test.here)
    there = own[~own["native"]] if test.there is None else chosen(own, test.there)
    both = ["cell", "table"] + (["protocol"] if test.here is None else [])
    places = {tuple(rows[0][key] for key in both): rows for rows in grouped(there, both)}
    for rows in grouped(here, both):
        yield from product(rows, places.get(tuple(rows[0][key] for key in both), []))


@decide.register
def _(test: claims.Drops, pool: pd.DataFrame) -> list[Comparison]:
    return [
        higher(one, other, test.by, f"{one['label']} {one['mean']:.1f} to {other['mean']:.1f} on {where(other)}")
        for one, other in lost(test, test.these, pool)
    ]


@decide.register
def _(test: claims.DropsLess, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    rivals = list(lost(test, test.those, pool))
    for here, there in lost(test, test.these, pool):
        for other_here, other_there in rivals:
            same = ["dataset", "ipc", "table"] + ([] if test.here else ["network", "protocol"])
            if any(there[key] != other_there[key] for key in same):
                continue
            own, other = (
                round(a["mean"], 1) - round(b["mean"], 1) for a, b in ((here, there), (other_here, other_there))
            )
            difference = round(other - own, 1)
            words = f"{here['label']} loses {own:.1f}, {other_here['label']} {other:.1f} on {where(there)}"
            cells = (here, there, other_here, other_there)
            found.append(Comparison(difference > 0, words, cells, difference, error(*cells)))
    return found


@decide.register
def _(test: claims.Ranking, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    own = distilled(pool, test.these)
    for _, rows in own.groupby(["table", "dataset", "ipc", "protocol"], sort=False):
        base = rows[rows["native"]].set_index("stands")["mean"]
        for _network, there in rows[~rows["native"]].groupby("network", sort=False):
            away = there.set_index("stands")["mean"]
            common = base.index.intersection(away.index)
            if len(common) < 3 or base.index.has_duplicates or away.index.has_duplicates:
                continue
            ours, theirs = base[common].round(1), away[common].round(1)
            tau = kendalltau(ours, theirs).statistic
            names = there.set_index("stands")["label"]
            best = [names[name] for name in theirs.index[theirs == theirs.max()]]
            cells = tuple(rows[rows["stands"].isin(common)].to_dict("records"))
            words = (
                f"{where(there.to_dict('records')[0])}: best {' and '.join(best)}, on its own network "
                f"{names[ours.idxmax()]} (Kendall's tau of {len(common)} methods {tau:.2f})"
            )
            found.append(Comparison(ours.idxmax() not in theirs.index[theirs == theirs.max()], words, cells))
    return found


def sets(pool: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A row for each set, with what it took."""
    return pool[pool[measure].notna()].drop_duplicates(["cell", "device"])


def figure(value: float, measure: str) -> str:
    return f"{value:.0f} MB" if measure == "peak_memory_mb" else f"{value:.3g} s"


@decide.register
def _(test: claims.Cheaper, pool: pd.DataFrame) -> list[Comparison]:
    pool = numbered(sets(pool, test.measure))
    these, those = of(test.these, pool), of(test.those, pool)
    found = []
    for rows in grouped(pool, ["dataset", "ipc", "device"]):
        for one, other in product(filter(these, rows), filter(those, rows)):
            if one["cell"] != other["cell"]:
                found.append(taken(one[test.measure] < other[test.measure], one, other, test.measure))
    return found


def taken(holds: bool, one: Row, other: Row, measure: str) -> Comparison:
    told = [f"{row['label']} {figure(row[measure], measure)}" for row in (one, other)]
    return Comparison(holds, f"{', '.join(told)} on {budget(one)}", (one, other))


@decide.register
def _(test: claims.Constant, pool: pd.DataFrame) -> list[Comparison]:
    found, measure = [], test.measure
    for rows in grouped(sets(pool, measure), ["dataset", "ipc", "device"]):
        for one, other in product(rows, rows):
            if (one["stands"], other["stands"]) in test.pairs:
                within = other[measure] <= one[measure] * (1 + test.within)
                found.append(taken(within, one, other, measure))
    return found


@decide.register
def _(test: claims.Grows, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    own = distilled(pool, test.these)
    own = own[own["ipc"] != "all"]
    along = "ipc" if test.networks is None else "network"
    same = ["stands", "method", "table", "label", *(key for key in COLUMN if key != along)]
    order = test.networks or sorted(own["ipc"].unique(), key=int)
    for rows in grouped(own[own[along].isin(order)], same):
        steps = sorted(rows, key=lambda row: order.index(row[along]))
        for one, other in pairwise(steps):
            if one[along] != other[along]:
                words = f"{one['label']} {one['mean']:.1f} to {other['mean']:.1f} on {where(other)}"
                found.append(higher(other, one, 0.0, words))
    return found


@decide.register
def _(test: claims.Augmented, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    own = distilled(pool, test.these)
    for rows in grouped(own[own["augment"].notna()], ["cell", "network", "plain"]):
        for plain, one in product(rows, rows):
            if plain["augment"] == "none" != one["augment"]:
                gain = round(round(one["mean"], 1) - round(plain["mean"], 1), 1)
                words = f"{one['label']} {plain['mean']:.1f} without, {one['mean']:.1f} with, on {where(one)}"
                found.append(Comparison(gain <= test.by, words, (plain, one), -gain, error(plain, one), -test.by))
    return found


@decide.register
def _(test: claims.OneNetwork, pool: pd.DataFrame) -> list[Comparison]:
    found = []
    for _, rows in pool[pool["native"] & pool["tabled"]].groupby("dataset", sort=False):
        usual = set(rows.loc[rows["baseline"], "network"])  # Random's and Whole's are the field's
        own = distilled(rows, claims.EVERY).drop_duplicates(["cell", "network"])
        for row in own.to_dict("records") if usual else []:
            same = row["network"] in usual and row["doubtful"] not in test.objections
            found.append(Comparison(same, f"{row['label']} on {where(row)}", (row,)))
    return found
