"""Seconds and bytes of the stages that would run."""

from collections.abc import Callable
from dataclasses import dataclass

from ddpipe.config import Config
from ddpipe.planning import disk, work
from ddpipe.planning.calibration import Calibration
from ddpipe.planning.known import known
from ddpipe.planning.shapes import data_of
from ddpipe.planning.steps import AFTER, RUNS, Step
from ddpipe.settings.shapes import Data
from ddpipe.settings.work import Cell, Work


@dataclass(frozen=True)
class Demand:
    """What one stage that would run asks of the device and of the disk, and where it belongs in the grid."""

    step: Step
    dataset: str
    method: str  # a recipe's combination; "" for what belongs to no cell
    work: Work  # empty for stages that need no device to speak of
    bytes: int


@dataclass(frozen=True)
class Estimate:
    """A demand and its seconds; None when something of it was not calibrated."""

    demand: Demand
    seconds: float | None


def demands(config: Config, steps: list[Step], stacked: bool = False) -> tuple[list[Demand], list[str]]:
    """The demands of the steps that would run, and why others have none: sentences, each once.

    Reports and the page are left out: they take seconds.

    Args:
        stacked: evaluation trains all networks of a set at once unless run.together says otherwise, as on a GPU.
    """
    found: list[Demand] = []
    unknown: dict[str, None] = {}
    for step in steps:
        group, _, key = step.name.partition("@")
        if step.state not in (RUNS, AFTER) or group not in STAGES:
            continue
        demand = STAGES[group](config, step, key, stacked)
        if isinstance(demand, str):
            unknown.setdefault(demand, None)
        else:
            found.append(demand)
    return found, list(unknown)


def unprepared(config: Config, name: str) -> str:
    stage = config.params.datasets[name].stage
    return f"the size of {name} is known once it is prepared: dvc repro {stage}@{name}"


def prepare(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    data = data_of(config, key)
    return unprepared(config, key) if data is None else Demand(step, key, "", Work(), disk.prepared(data))


def experts(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    buffer = config.params.experts[key]
    data, network = data_of(config, buffer.data), config.network(buffer.network)
    if data is None:
        return unprepared(config, buffer.data)
    together = config.params.run.together or 1  # how many a GPU finds fastest is known when the stage runs
    done = work.experts(buffer, data, network, together) + work.process(data)
    return Demand(step, buffer.data, "", done, disk.experts(buffer, data, network))


def generators(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    chosen = config.params.generators[key]
    data, network = data_of(config, chosen.data), config.network(config.params.experts[chosen.buffer].network)
    if data is None:
        return unprepared(config, chosen.data)
    done = work.generators(chosen, data, network) + work.process(data)
    return Demand(step, chosen.data, "", done, disk.generators(chosen, data))


def distill(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    row, chosen = config.row(key), config.resolved(key)
    data, network = data_of(config, row.data), config.network(row.student)
    if data is None:
        return unprepared(config, row.data)
    n = length(config, key, data)
    if chosen.kind == "selection":
        done, size = work.selection(chosen, data, n, network), disk.chosen(chosen, n, data)
    else:
        cell = Cell(chosen, data, data.per_class if row.ipc == "all" else row.ipc, network)
        how = config.params.run
        every = chosen.steps if how.checkpoint_seconds else how.checkpoint_every  # by time: beside the rest nothing
        done, size = work.distillation(cell, every), disk.learned(cell)
    return Demand(step, row.dataset, row.method, done + work.process(data), size)


def course(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    """As an evaluation of so many sets; what is seen of the images is beside it nothing."""
    row, entry, chosen = config.row(key), config.courses[key], config.resolved(key)
    rules, data = config.protocol(row.protocol, row.dataset), data_of(config, row.data)
    if data is None:
        return unprepared(config, row.data)
    count, n = entry.networks or rules.networks, length(config, key, data)
    moments = len({*entry.snapshots, chosen.steps})
    together = min(count, config.params.run.together or (count if stacked else 1))
    few = rules.model_copy(update={"networks": count, "sets": None})
    own = work.evaluation(few, moments, n, data, config.network(row.network), together, known(config, key))
    if own is None:
        return untold(row.protocol, row.method)
    size = disk.results(moments * count) + 2 * disk.PICTURE
    return Demand(step, row.dataset, row.method, own + work.process(data), size)


def untold(protocol: str, method: str) -> str:
    return f"the steps that {protocol} takes are not known from the settings of {method}, only from its sets"


def evaluate(config: Config, step: Step, key: str, stacked: bool) -> Demand | str:
    """The one of a row, or a further one."""
    asked = config.evaluation(key)
    row, chosen = config.row(asked.cell), config.resolved(asked.cell)
    rules, data = config.protocol(asked.protocol, row.dataset), data_of(config, row.data)
    if data is None:
        return unprepared(config, row.data)
    n, network, hints = length(config, asked.cell, data), config.network(asked.network), known(config, asked.cell)
    together = min(rules.networks, config.params.run.together or (rules.networks if stacked else 1))
    own = work.evaluation(rules, chosen.sets, n, data, network, together, hints)
    if own is None:
        return untold(asked.protocol, row.method)
    done = own + work.process(data)
    size = disk.results(rules.networks * min(chosen.sets, rules.sets or chosen.sets))
    if step.group == "evaluate":
        size += disk.pictures(data, n, chosen.sets, chosen.steps)
    return Demand(step, row.dataset, row.method, done, size)


def length(config: Config, cell: str, data: Data) -> int:
    """Images of one decoded set of `cell`."""
    row, chosen = config.row(cell), config.resolved(cell)
    if row.ipc == "all":
        return data.train
    return chosen.shown(data.shape, row.ipc)


STAGES: dict[str, Callable[[Config, Step, str, bool], Demand | str]] = {
    "prepare": prepare,
    "own": prepare,
    "experts": experts,
    "generators": generators,
    "distill": distill,
    "evaluate": evaluate,
    "further": evaluate,
    "course": course,
}


def estimate(found: list[Demand], calibration: Calibration) -> list[Estimate]:
    return [Estimate(demand, calibration.seconds(demand.work)) for demand in found]
