"""Everything the report of one dataset says as one table: a row per (cell, network, protocol) of the grid."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ddpipe.config import Config, ResultKey, results_of
from ddpipe.errors import UserError
from ddpipe.pipeline import costs, results
from ddpipe.pipeline.costs import joined
from ddpipe.pipeline.descriptions import Cost, Result
from ddpipe.publication.telling import Publication
from ddpipe.report import published
from ddpipe.report.spent import spent
from ddpipe.settings.names import TRAINED
from ddpipe.settings.reading import did_you_mean
from ddpipe.states import State

NAN = math.nan
COMPARABLE = (State.PUBLISHED, State.UNVERIFIED)  # with a published accuracy
Survey = Mapping[published.Key, published.Published]
COST = (
    *("distill_seconds", "iterations", "seconds_per_iteration", "experts_seconds"),
    *("processor_seconds", "device_seconds", "load", "spent", "eval_spent"),
)
WORDS = ("device", "versions", "experts", "capped", "spent_on", "eval_spent_on", "hardware", "commit", "when", "digest")


def collect(config: Config, dataset: str, survey: Survey | None = None) -> pd.DataFrame:
    """The measured and the published accuracies of `dataset`; a missing result is a row of NaN.

    Columns: `cell method recipe label ipc network protocol` (identity; `recipe` is the published method behind it,
    `label` the method and the variant, `ipc` is text, "all" for the whole data set), `main` (the evaluation that the
    grid names, not a further one), `distilled` (something of the set is learned), `mean std` (percent, population) over
    `n` = `sets` x `networks` accuracies, `floats` (stored in a set), `worth` (images a class that they are worth),
    `published_mean published_std doubtful source_mean source_std note` (of the printed cell for which it stands),
    `difference` = mean - published_mean where the state is one of COMPARABLE, `state` (a states.State, "" without a
    result), `why` (in words, what keeps it from being as published: "iterations 300 of 20,000, width 16 of 128"; ""
    where it is), `differences` (how many such reasons there are), `survey_method` and `survey_network` (the printed
    cell for which it stands in the survey's tables, in whatever state; "" where it stands for none), `device versions`,
    `distill_seconds` and `iterations` (of all sets), `seconds_per_iteration`, `experts` (the buffer, or generator,
    whose networks it used, "" for none) and `experts_seconds` (of the whole of it, which may serve several cells),
    `capped` (of the loops that a rule may end, how many their number did, in words), `eval_seconds`, `peak_memory_mb`
    (the larger of both stages).
    The seconds up to here are those of a clock, of a machine that may have been busy. `processor_seconds`,
    `device_seconds` (on a GPU alone) and `load` are those of the sets, `spent` on the hardware `spent_on` the seconds
    of the sets and of the experts they used, `eval_spent` and `eval_spent_on` those of the evaluation (see spent.py);
    NaN where only the clock's are known, as of early results. `hardware` (models, threads of a CPU) and `commit` (12
    digits, "+" behind a changed one) are those of both stages, `when` is the day of the
    evaluation, `digest` is that of the resolved settings ("" unknown).
    And `data` (the prepared form of the dataset), `selection` (the set is a few real images), `mark` ("‡5" beside a
    wrong published value, "§22" beside one that stands for something else).
    Methods come in the order of params.yaml, IPC ascending.

    Args:
        survey: what is published, where it was read before.

    Raises:
        UserError: no cell shows `dataset`, or a result is damaged.
    """
    keys = shown(config, dataset)
    survey = _survey(config) if survey is None else survey
    names = labels(config)
    publication = Publication(config)
    table = pd.DataFrame([_row(publication, key, survey, names) for key in keys])
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


def shown(config: Config, dataset: str) -> list[ResultKey]:
    """`results_of`, and UserError where no cell of the grid shows `dataset`."""
    if keys := results_of(config, dataset):
        return keys
    known = sorted({row.dataset for row in config.rows.values()})
    raise UserError(f"no cell of the grid belongs to dataset {dataset!r}{did_you_mean(dataset, known)}")


def labels(config: Config) -> dict[str, str]:
    """What reports call a method: as its recipe says, or as the survey prints it; its name where neither does."""
    said = {name: recipe.label for name, recipe in config.recipes.items() if recipe.label is not None}
    return published.labels(config.root / "data" / "published") | said


def collect_all(config: Config) -> dict[str, pd.DataFrame]:
    """`collect` of every dataset of the grid, those with a report first."""
    gridded = {row.dataset for row in config.rows.values()}
    reported = [dataset for dataset in config.params.reports if dataset in gridded]
    survey = _survey(config)
    return {dataset: collect(config, dataset, survey) for dataset in (*reported, *sorted(gridded.difference(reported)))}


def _survey(config: Config) -> Survey:
    return published.lookup(published.read(config.root / "data" / "published"))


def ipc_order(ipc: str) -> float:
    """Where an IPC stands among others: the whole data set comes last."""
    return math.inf if ipc == "all" else int(ipc)


def _row(
    publication: Publication,
    key: ResultKey,
    survey: Survey,
    names: dict[str, str],
) -> dict:
    config = publication.config
    row, result = config.row(key.cell), results.read(config, key)
    told = publication.told(key, result)
    resolved = config.resolved(key.cell)
    found: dict[str, Any] = {
        "cell": key.cell,
        "method": row.method,
        "recipe": row.recipe,
        "label": names.get(row.method, row.method) + (f" ({row.variant})" if row.variant else ""),
        "ipc": str(row.ipc),
        "network": key.network,
        "protocol": key.protocol,
        "data": row.data,
        "main": config.is_main(key),
        "distilled": resolved.distils,
        "selection": resolved.kind == "selection" and row.ipc != "all",
    }
    found |= _measured(config, key, result)
    found |= {
        "state": told.state if result else "",
        "why": told.why if result else "",
        "differences": len(told.reasons),
    }
    found |= {"survey_method": told.method, "survey_network": told.network}
    printed = (told.method, row.dataset, str(row.ipc), told.network)
    cited = survey.get(printed, published.NOTHING)
    return found | {
        "published_mean": cited.mean,
        "published_std": cited.std,
        "doubtful": cited.doubtful,
        "mark": cited.mark,
        "source_mean": cited.source_mean,
        "source_std": cited.source_std,
        "note": cited.note,
        "difference": found["mean"] - cited.mean if told.state in COMPARABLE else NAN,
    }


def key_of(row: Mapping) -> ResultKey:
    """The evaluation of a row of `collect`."""
    return ResultKey(row["cell"], row["network"], row["protocol"])


def _measured(config: Config, key: ResultKey, result: Result | None) -> dict[str, Any]:
    """The measured columns of one result; NaN without one."""
    columns = ("mean", "std", "n", "sets", "networks", "floats", "worth", *COST, "eval_seconds", "peak_memory_mb")
    if result is None:
        return dict.fromkeys(columns, NAN) | dict.fromkeys(WORDS, "")
    unknown = Cost.model_construct(seconds=NAN, peak_memory_mb=NAN)
    judging = (result.seal and costs.of(config.root, key.name, result.seal)) or unknown
    cost = judging.distillation or unknown
    of_sets, of_networks = spent(cost), spent(judging)
    if config.row(key.cell).upstream[0] in TRAINED and not (cost.experts or cost.generators):
        of_sets = of_sets._replace(seconds=NAN)  # nobody noted what they cost
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
        **_upstream(cost),
        "capped": ", ".join(f"{part} of {whole} {name}" for name, (part, whole) in result.capped.items()),
        "eval_seconds": judging.seconds,
        "peak_memory_mb": np.fmax(judging.peak_memory_mb, cost.peak_memory_mb),  # of those that are known
        "device": joined(stage.device for stage in (cost, judging)),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(judging.versions.items())),
        "processor_seconds": _number(cost.processor_seconds),
        "device_seconds": _number(cost.device_seconds),
        "load": _number(cost.load),
        "spent": of_sets.seconds,
        "spent_on": of_sets.on,
        "eval_spent": of_networks.seconds,
        "eval_spent_on": of_networks.on,
        "hardware": joined(map(_hardware, (cost, judging))),
        "commit": joined(_short(stage.commit or "") for stage in (cost, judging)),
        "when": judging.when,
        "digest": result.digest or "",
    }


def _upstream(cost: Cost) -> dict[str, Any]:
    """What was trained on real data for the sets, and its seconds."""
    if cost.experts:
        return {"experts": cost.experts.buffer, "experts_seconds": cost.experts.seconds}
    if cost.generators:
        return {"experts": f"generators.{cost.generators.generator}", "experts_seconds": cost.generators.seconds}
    return {"experts": "", "experts_seconds": NAN}


def _hardware(cost: Cost) -> str:
    """Its model, and of a CPU the threads that were used."""
    if not cost.hardware or cost.threads is None or cost.device_seconds is not None:
        return cost.hardware
    return f"{cost.hardware}, {cost.threads} thread{'s' if cost.threads > 1 else ''}"


def _short(commit: str) -> str:
    return commit[:12] + "+" * commit.endswith("+")


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def metrics(frame: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and std by name and IPC, for `dvc metrics`: a name is a line of its table, an IPC two columns.

    A name is the method, with network and protocol where they are not those of the row, or several rows of the method
    have one IPC; and at last the row's own name in place of the method's.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for _, row in frame[frame["mean"].notna()].iterrows():
        behind = f".{row['network']}.{row['protocol']}"
        names = [row["method"], row["method"] + behind, row["cell"] + behind][not row["main"] :]
        name = next(name for name in names if row["ipc"] not in found.get(name, {}))
        numbers = {key: round(row[key], 2) for key in ("mean", "std") if not math.isnan(row[key])}
        found.setdefault(name, {})[row["ipc"]] = numbers
    return found


POINTS = 100  # of a loss curve: enough for a figure, small enough for git


def losses(config: Config, frame: pd.DataFrame) -> pd.DataFrame:
    """The loss curves of the distilled cells in `frame`: columns cell, method, label, ipc, iteration, loss.

    Mean over the sets, then over stretches of equal length, so that a curve has at most 100 points; `iteration` is the
    last one of its stretch. Cells without `<cell>.loss.csv` beside their results are left out.
    """
    shown = frame.loc[frame["main"] & frame["distilled"], ["cell", "method", "label", "ipc"]]
    found = ((i, *point) for i, cell in enumerate(shown["cell"]) for point in results.losses(config, cell))
    points = pd.DataFrame(found, columns=["row", *results.HEADER])
    # all at once: a table of its own for each of hundreds of cells would take seconds
    means = points.groupby(["row", "iteration"], as_index=False)["loss"].mean()
    per_row = means.groupby("row")["iteration"]
    many = per_row.transform("size")
    stretch = (per_row.cumcount() * many.clip(upper=POINTS) // many).rename("stretch")
    curves = means.groupby(["row", stretch]).agg({"iteration": "max", "loss": "mean"}).reset_index("row")
    found_in = shown.iloc[curves["row"].astype(int)].reset_index(drop=True)
    return found_in.assign(**{name: curves[name].to_numpy() for name in ("iteration", "loss")})
