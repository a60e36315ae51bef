"""All accuracies that may decide a claim as one table: those in print, and those measured here.

Columns: `method` (its own name), `stands` (the method of the survey that it stands for: itself but for a reduced run),
`label scheme factorised baseline`, `rule` (of a selection), `dataset ipc network protocol` (where it may be compared;
in print `protocol` is ""), `table` (in print), `native` (on the network that its row names), `tabled` (it stands in one
of the survey's tables), `mean std n doubtful state`, `cell` (the set: in print method, data set and budget, here the
row of the grid), `hard` (networks learn from one-hot targets), `augment` and `plain` (the protocol's augmentation, and
all else of it that says how networks learn; None and "" where there is none), and of the set `spent` (seconds, experts
included), `spent_per_iteration` (without them), `peak_memory_mb` and `device` (NaN and "" in print).
"""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from ddpipe.config import Config
from ddpipe.settings import Cell, Selection
from ddpipe.settings.claims import Cells
from ddpipe.states import State

COLUMN = ["dataset", "ipc", "network", "protocol"]  # accuracies that differ in none of these may be compared
BASELINES = "-"  # the scheme of Random, Herding and Whole in the survey's tables
NAMES = {"methods": "stands", "schemes": "scheme", "datasets": "dataset", "ipcs": "ipc", "networks": "network"}
NAMES |= {"protocols": "protocol", "tables": "table"}
COSTS = ["spent", "spent_per_iteration", "peak_memory_mb"]
HIDDEN = ("augment", "hard", "networks", "sets", "revision")  # of a protocol: what two evaluations of a pair differ in


def printed(survey: pd.DataFrame) -> pd.DataFrame:
    """The cells of `survey` (published.read) that have a number, as often as they are printed."""
    cells = survey[survey["mean"].notna()]
    return pd.DataFrame(
        {
            **{name: cells[name] for name in ("table", "method", "label", "scheme", "dataset", "ipc", "network")},
            "stands": cells["method"],
            "factorised": cells["factorized"] == "yes",
            "baseline": cells["scheme"] == BASELINES,
            "rule": "",
            "protocol": "",
            "native": cells["network"] == "convnet",
            "tabled": True,
            **{name: cells[name] for name in ("mean", "std", "doubtful")},
            "n": math.nan,
            "state": "",
            "cell": cells["method"] + " " + cells["dataset"] + " " + cells["ipc"],
            "hard": False,
            "augment": None,
            "plain": "",
            **dict.fromkeys(COSTS, math.nan),
            "device": "",
        }
    ).reset_index(drop=True)


def measured(
    config: Config, frames: Mapping[str, pd.DataFrame], survey: pd.DataFrame, named: Collection[str]
) -> pd.DataFrame:
    """Every evaluation in `frames` (frame.collect_all) that has a result.

    Args:
        named: methods that stand for themselves though they are built on another one, because a claim names them.
    """
    schemes, plain = parts(config, survey)
    rows = []
    for dataset, frame in frames.items():
        for row in frame[frame["mean"].notna()].to_dict("records"):
            asked = config.row(row["cell"])
            chosen = config.resolved(row["cell"])
            baseline = isinstance(chosen, Selection)
            own = row["state"] == State.OWN or not (row["distilled"] or baseline)
            own |= row["method"] in named and row["method"] != asked.recipe
            stands = row["method"] if own else asked.recipe
            of_what = None if isinstance(chosen, Selection) else (chosen.objective.name, chosen.synthetic.name)
            told = config.protocol(row["protocol"], dataset).model_dump(mode="json")
            rows.append(
                {
                    **{name: row[name] for name in ("method", "label", "ipc", "network", "protocol", "mean", "std")},
                    **{name: row[name] for name in ("n", "state", "cell", "peak_memory_mb")},
                    "doubtful": "",  # an objection is to what is printed
                    "table": "",
                    "stands": stands,
                    "scheme": schemes.get(of_what[0], "") if of_what and not own else "",
                    "factorised": of_what is not None and of_what[1] not in plain,
                    "baseline": baseline,
                    "rule": chosen.rule if isinstance(chosen, Selection) else "",
                    "dataset": dataset,
                    "native": row["network"] == asked.network,
                    "tabled": row["survey_network"] != "",
                    "hard": bool(told.get("hard")) or one_hot(chosen),
                    "augment": told.get("augment"),
                    "plain": json.dumps({key: told[key] for key in sorted(told) if key not in HIDDEN}),
                    "spent": row["spent"],
                    "spent_per_iteration": of_sets(row) / row["iterations"] if row["iterations"] else math.nan,
                    "device": row["spent_on"],
                }
            )
    return pd.DataFrame(rows, columns=[*printed(survey).columns])


def of_sets(row: dict[str, Any]) -> float:
    """The seconds of the sets alone, without those of experts: of the device, else of the processor."""
    return row["processor_seconds"] if math.isnan(row["device_seconds"]) else row["device_seconds"]


def one_hot(chosen: Cell) -> bool:
    """Whether each example of such a set has one class as its target: no score, nothing learned or assigned."""
    if isinstance(chosen, Selection):
        return True
    labels, assigned = chosen.labels, getattr(chosen.objective, "soft_labels", False)
    return (labels.scale, labels.init, labels.learned or assigned) == ("one-hot", "hard", False)


def parts(config: Config, survey: pd.DataFrame) -> tuple[dict[str, str], set[str]]:
    """What the survey's tables say of the parts of the methods in them: the scheme of each objective, and the
    parametrisations that are not factorised. So a method that no table has gets the scheme that its objective has."""
    facts = {row["method"]: (row["scheme"], row["factorized"] == "yes") for row in survey.to_dict("records")}
    schemes: dict[str, str] = {}
    plain: set[str] = set()
    for _, row, chosen in config.cells():
        if row.method in facts and not isinstance(chosen, Selection):
            scheme, factorised = facts[row.method]
            schemes[chosen.objective.name] = scheme
            plain |= set() if factorised else {chosen.synthetic.name}
    return schemes, plain


def chosen(pool: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """The rows of `pool` that fit `cells`. Without named methods: those of a distillation method of the survey."""
    fits = pd.Series(True, index=pool.index)
    for key, column in NAMES.items():
        if (wanted := getattr(cells, key)) is not None:
            fits &= pool[column].isin(wanted)
    if cells.but is not None:
        fits &= ~pool["stands"].isin(cells.but)
    if cells.factorised is not None:
        fits &= pool["factorised"] == cells.factorised
    return pool[fits]


def distilled(pool: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """The rows that fit `cells`; where it names no methods, of methods of distillation alone."""
    found = chosen(pool, cells)
    if cells.methods is not None:
        return found
    return found[~found["baseline"] & (found["scheme"] != "") & (found["scheme"] != BASELINES)]
