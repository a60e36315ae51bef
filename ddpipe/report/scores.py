"""What an accuracy owes to labels and to augmentation, how far a set serves other networks, and what a point costs.

The scores are those of DD-Ranking (NUS-HPC-AI-Lab, v0.2.0), on fractions: its code puts accuracies in percent into the
exponential, though the normalisation is written for fractions. Nothing is chosen on the test set: every accuracy is
that after a network's last step, under a protocol of params.yaml.
"""

import math

import pandas as pd

WEIGHT = 0.5  # of the improvement over random in the label-robust score, and of augmented accuracies in the other
IDENTITY = ["cell", "label", "ipc", "network", "protocol"]
COLUMNS = [*IDENTITY, "mean", "whole", "random", "without", "hlr", "ior", "lrs", "ars", "spent", "seconds_per_point"]


def hard_label_recovery(whole: float, hard: float) -> float:
    """HLR: how much less a set with one-hot labels teaches than the whole data set; fractions, less is better."""
    return whole - hard


def improvement_over_random(own: float, random: float) -> float:
    """IOR: how much more a set teaches, with whatever labels, than as many random images; fractions."""
    return own - random


def normalised(value: float) -> float:
    """A value from -1 to 1 on the scale from 0 to 1 on which no difference, 0, is 0.269: (e^v - e^-1) / (e - e^-1)."""
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def label_robust(hlr: float, ior: float, weight: float = WEIGHT) -> float:
    """LRS: `normalised` of weight * IOR - (1 - weight) * HLR; the larger the better."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust(augmented: float, plain: float, weight: float = WEIGHT) -> float:
    """ARS: `normalised` of weight * IOR with augmentation + (1 - weight) * IOR without; the larger the better."""
    return normalised(weight * augmented + (1 - weight) * plain)


def scores(pool: pd.DataFrame) -> pd.DataFrame:
    """The scores of every distilled set in `pool` (pool.measured of one dataset): COLUMNS, a row an evaluation.

    `whole` and `random` (percent) are found by the settings of their protocols: the same network and all else but
    labels equal, those of the very protocol first. `without` names the protocol that lacks only the augmentation; NaN
    and "" where an evaluation is missing. `seconds_per_point` is `spent` over the points above random, NaN where there
    are none or nobody knows the seconds.
    """
    rows = pool.to_dict("records")
    found = [_scored(row, rows) for row in rows if not row["baseline"]]
    return pd.DataFrame(found, columns=COLUMNS)


def _scored(row: dict, rows: list[dict]) -> dict:
    ranked = [_mean(_like(row, rows, rule="random")), _mean(_like(row, rows, rule="whole", ipc="all"))]
    random, whole = ranked
    hard = row if row["hard"] else _like(row, rows, cell=row["cell"], hard=True)
    hlr = hard_label_recovery(whole / 100, _mean(hard) / 100)
    ior = improvement_over_random(row["mean"] / 100, random / 100)
    found = {name: row[name] for name in (*IDENTITY, "mean", "spent")} | {"whole": whole, "random": random}
    found |= {"hlr": hlr, "ior": ior, "lrs": label_robust(hlr, ior), "without": "", "ars": math.nan}
    if row["augment"] not in (None, "none"):
        without = _like(row, rows, cell=row["cell"], augment="none")
        bare = _like(row, rows, rule="random", augment="none")
        if without and bare:
            plain = improvement_over_random(without["mean"] / 100, bare["mean"] / 100)
            found |= {"without": without["protocol"], "ars": augmentation_robust(ior, plain)}
    points = row["mean"] - random
    return found | {"seconds_per_point": row["spent"] / points if points > 0 else math.nan}


def _like(row: dict, rows: list[dict], **asked: object) -> dict | None:
    """The evaluation that differs from `row` in what is `asked` for alone, and in labels; None without one."""
    same = {"ipc": row["ipc"], "network": row["network"], "plain": row["plain"], "augment": row["augment"]} | asked
    fits = [other for other in rows if all(other[key] == value for key, value in same.items())]
    return min(fits, key=lambda other: (other["protocol"] != row["protocol"], other["protocol"]), default=None)


def _mean(row: dict | None) -> float:
    return math.nan if row is None else row["mean"]


def transfer(pool: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """What sets are worth to networks: (protocol, IPC) -> a matrix of means, sets by their labels x networks, for every
    protocol and budget under which some set was measured on two networks at least."""
    found = {}
    for (protocol, ipc), rows in pool.groupby(["protocol", "ipc"], sort=False):
        matrix = rows.pivot_table(index=["cell", "label"], columns="network", values="mean", sort=False)
        if (matrix.notna().sum(axis=1) > 1).any():
            found[str(protocol), str(ipc)] = matrix.droplevel("cell")
    return found
