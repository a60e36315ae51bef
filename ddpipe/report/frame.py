"""Everything the report of one dataset says as one table: a row per (cell, network, protocol) of the grid."""

import math
from typing import Any

import numpy as np
import pandas as pd

from ddpipe.config import Config, ResultKey, did_you_mean, results_of
from ddpipe.errors import UserError
from ddpipe.pipeline import results
from ddpipe.pipeline.descriptions import Cost, Result
from ddpipe.report import published
from ddpipe.report.matching import survey_network

LABELS = {
    "random": "Random",
    "herding": "Herding",
    "kcenter": "K-Center",
    "whole": "Whole",
    "dm": "DM",
    "dc": "DC",
    "dsa": "DSA",
    "dcc": "DCC",
    "idc": "IDC",
    "mtt": "MTT",
    "ftd": "FTD",
    "tesla": "TESLA",
    "haba": "HaBa",
    "cafe": "CAFE",
    "kfs": "KFS",
    "itgan": "IT-GAN",
    "dd": "DD",
    "sldd": "SLDD",
    "ld": "LD",
    "rtp": "RTP",
    "gtn": "GTN",
    "kip": "KIP",
    "frepo": "FRePo",
    "rfad": "RFAD",
}
NAN = math.nan
COST = ("distill_seconds", "iterations", "seconds_per_iteration", "experts_seconds")


def collect(config: Config, dataset: str) -> pd.DataFrame:
    """The measured and the published accuracies of `dataset`; a missing result is a row of NaN.

    Columns: `cell method label ipc network protocol` (identity; `label` is the method and the variant, `ipc` is text,
    "all" for the whole data set), `main`
    (the evaluation that the grid names, not a further one), `distilled` (learned, not selected), `mean std` (percent,
    population) over `n` = `sets` x `networks` accuracies, `floats` (stored in a set), `worth` (images a class that they
    are worth), `published_mean published_std doubtful source_mean source_std note`, `difference` = mean -
    published_mean, `as_published` (no overrides, no combination), `survey_network` (the survey's name of the network
    where its tables print this evaluation, else ""), `device versions`, `distill_seconds` and `iterations` (of all
    sets), `seconds_per_iteration`, `experts` (the buffer whose networks it used, "" for none) and `experts_seconds` (of
    the whole buffer, which may serve several cells), `eval_seconds`, `peak_memory_mb` (the larger of both stages).
    Methods come in the order of params.yaml, IPC ascending.

    Raises:
        UserError: no cell shows `dataset`, or a result is damaged.
    """
    keys = results_of(config, dataset)
    if not keys:
        known = sorted({row.dataset for row in config.rows.values()})
        raise UserError(f"no cell of the grid belongs to dataset {dataset!r}{did_you_mean(dataset, known)}")
    survey = published.lookup(published.read(config.root / "data" / "published"))
    table = pd.DataFrame([_row(config, key, survey) for key in keys])
    methods = {method: position for position, method in enumerate(config.params.methods)}
    order = sorted(
        range(len(table)),
        key=lambda i: (
            methods.get(table["method"][i], len(methods)),
            config.row(table["cell"][i]).variant or "",
            ipc_order(table["ipc"][i]),
            not table["main"][i],
            table["network"][i],
            table["protocol"][i],
        ),
    )
    return table.iloc[order].reset_index(drop=True)


def collect_all(config: Config) -> dict[str, pd.DataFrame]:
    """`collect` of every dataset of the grid, those with a report first."""
    gridded = {row.dataset for row in config.rows.values()}
    reported = [dataset for dataset in config.params.reports if dataset in gridded]
    return {dataset: collect(config, dataset) for dataset in (*reported, *sorted(gridded.difference(reported)))}


def ipc_order(ipc: str) -> float:
    """Where an IPC stands among others: the whole data set comes last."""
    return math.inf if ipc == "all" else int(ipc)


def _row(config: Config, key: ResultKey, survey: published.Mapping[published.Key, published.Published]) -> dict:
    row = config.row(key.cell)
    base = config.params.methods.get(row.method, {}).get("base")
    main = (key.network, key.protocol) == (row.network, row.protocol)
    found: dict[str, Any] = {
        "cell": key.cell,
        "method": row.method,
        "label": LABELS.get(row.method, row.method) + (f" ({row.variant})" if row.variant else ""),
        "ipc": str(row.ipc),
        "network": key.network,
        "protocol": key.protocol,
        "main": main,
        "distilled": config.resolved(key.cell).kind == "distillation",
    }
    measured = _measured(results.read(config, key))
    overrides = measured.pop("overrides", config.overrides(key.cell))
    found |= measured | {"as_published": not overrides and base is None}
    found["survey_network"] = survey_network(config, key)
    cited = survey.get((row.method, row.dataset, str(row.ipc), found["survey_network"]), published.NOTHING)
    return found | {
        "published_mean": cited.mean,
        "published_std": cited.std,
        "doubtful": cited.doubtful,
        "source_mean": cited.source_mean,
        "source_std": cited.source_std,
        "note": cited.note,
        "difference": found["mean"] - cited.mean,
    }


def _measured(result: Result | None) -> dict[str, Any]:
    """The measured columns of one result, and the overrides it ran with; NaN and no overrides without one."""
    columns = ("mean", "std", "n", "sets", "networks", "floats", "worth", *COST, "eval_seconds", "peak_memory_mb")
    if result is None:
        return dict.fromkeys(columns, NAN) | {"device": "", "versions": "", "experts": ""}
    cost = result.cost or Cost.model_construct(seconds=NAN)
    return {
        "mean": result.mean,
        "std": result.std if result.n > 1 else NAN,  # one accuracy has no spread to speak of
        "n": result.n,
        "sets": result.sets,
        "networks": result.networks,
        "floats": result.budget.floats,
        "worth": result.budget.images_per_class,
        "distill_seconds": cost.seconds,
        "iterations": _number(cost.iterations),
        "seconds_per_iteration": _number(cost.seconds_per_iteration),
        "experts": cost.experts.buffer if cost.experts else "",
        "experts_seconds": cost.experts.seconds if cost.experts else NAN,
        "eval_seconds": result.seconds,
        "peak_memory_mb": max(result.peak_memory_mb, cost.peak_memory_mb),
        "device": " / ".join(dict.fromkeys(filter(None, (cost.device, result.device)))),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items())),
        "overrides": result.overrides,
    }


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


POINTS = 100  # of a loss curve: enough for a figure, small enough for git


def losses(config: Config, frame: pd.DataFrame) -> pd.DataFrame:
    """The loss curves of the distilled cells in `frame`: columns cell, method, label, ipc, iteration, loss.

    Mean over the sets, then over stretches of equal length, so that a curve has at most 100 points; `iteration` is the
    last one of its stretch. Cells without `<cell>.loss.csv` beside their results are left out.
    """
    curves = []
    for _, row in frame[frame["main"] & frame["distilled"]].iterrows():
        if found := results.losses(config, row["cell"]):
            curves.append(_curve(found).assign(**{name: row[name] for name in ("cell", "method", "label", "ipc")}))
    columns = ["cell", "method", "label", "ipc", "iteration", "loss"]
    return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)


def _curve(found: list[tuple[int, int, float]]) -> pd.DataFrame:
    curve = pd.DataFrame(found, columns=results.HEADER).groupby("iteration")["loss"].mean()
    stretch = np.arange(len(curve)) * min(POINTS, len(curve)) // len(curve)
    return curve.reset_index().groupby(stretch).agg({"iteration": "max", "loss": "mean"})
