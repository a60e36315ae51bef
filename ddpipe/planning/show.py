"""The plan for people: what happens to which stages and why, and what that costs."""

from collections.abc import Iterable

from ddpipe.config import Config
from ddpipe.planning.estimate import STAGES, Estimate
from ddpipe.planning.steps import AFTER, MEANING, RUNS, UP_TO_DATE, Step, checkpoints, resume_point
from ddpipe.planning.terminal import WIDTH, table, wrapped

GROUPS = ["resolve", *STAGES, "report", "page"]
EXPENSIVE = 5  # stages that are named
ABREAST = 5  # datasets in one table


def states(config: Config, steps: list[Step], names: bool = True) -> str:
    """A count for each state and, with `names`, the stages with something to do, by reason."""
    lines = []
    places = {key: place for place, key in enumerate([*config.rows, *config.evaluations])}
    steps = sorted(steps, key=lambda step: (GROUPS.index(step.group), places.get(step.name.partition("@")[2], -1)))
    for state, meaning in MEANING.items():
        chosen = [step for step in steps if step.state == state]
        if not chosen:
            continue
        cells = sum(step.group == "distill" for step in chosen)
        count = f"{len(chosen)} stages" if len(chosen) > 1 else "1 stage"
        lines += wrapped(f"{state} ({meaning}): {count}{f', {cells} of them distil' if cells else ''}", 0)
        alike: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
        for step in chosen if names and state != UP_TO_DATE else ():
            resume = resume_point(checkpoints(config, step)) if state in (RUNS, AFTER) else ""
            alike.setdefault((step.group, step.reasons, resume), []).append(step.name)
        for (_, reasons, resume), stages in alike.items():
            checkpoint = (f"checkpoint: {resume}, used if its inputs are the same",) if resume else ()
            lines += wrapped(" ".join(stages))
            lines += wrapped("; ".join((*reasons, *checkpoint)), 6) if (*reasons, *checkpoint) else []
    return "\n".join(lines)


def costs(config: Config, found: list[Estimate], unknown: list[str], device: str, cells: bool = False) -> str:
    """What the stages that would run cost, by group; with `cells` also by method and dataset."""
    lines = [f"cost of what would run, on {device}:", line("", "stages", "device time", "disk")]
    for group in STAGES:
        chosen = [e for e in found if e.demand.step.group == group]
        if chosen:
            lines.append(total(group, chosen))
    lines.append(total("total", found))
    known = sorted((e for e in found if e.seconds), key=lambda e: -(e.seconds or 0))
    if known[1:]:
        named = (f"{e.demand.step.name} {duration(e.seconds or 0)}" for e in known[:EXPENSIVE])
        lines += wrapped("most expensive: " + ", ".join(named))
    if cells:
        lines += by_method(config, found)
    if left := sum(e.seconds is None for e in found):
        lines.append(f"  not calibrated, and left out of the times: {left} stages")
    lines += [f"  left out: {reason}" for reason in unknown]
    return "\n".join(
        [*lines, "  disk is that of outputs; DVC's cache and data/checkpoints hold further copies of most"]
    )


def total(name: str, found: list[Estimate]) -> str:
    return line(name, str(len(found)), seconds_of(found), amount(sum(e.demand.bytes for e in found)))


def line(name: str, stages: str, time: str, size: str) -> str:
    return f"  {name:10}{stages:>8}{time:>14}{size:>12}"


def by_method(config: Config, found: list[Estimate]) -> list[str]:
    """Device time of cells by method and dataset, in the order of params.yaml: some datasets a table, then all."""
    mine = [e for e in found if e.demand.method]
    datasets = [name for name in config.params.datasets if any(e.demand.dataset == name for e in mine)]
    methods = [name for name in config.params.methods if any(e.demand.method == name for e in mine)]
    lines = []
    for first in range(0, len(datasets), ABREAST):
        shown = datasets[first : first + ABREAST]
        last = first + ABREAST >= len(datasets)
        rows = []
        for name in (*methods, "total"):
            own = [e for e in mine if name in (e.demand.method, "total")]
            times = [seconds_of(e for e in own if e.demand.dataset == dataset) for dataset in shown]
            rows.append([name, *times, *([seconds_of(own)] if last else [])])
        heading = ["", *shown, *(["total"] if last else [])]
        lines += [f"  {text}" for text in table(rows, heading, right=len(heading) - 1, width=WIDTH - 2)]
    return lines


def seconds_of(found: Iterable[Estimate]) -> str:
    known = [e.seconds for e in found if e.seconds is not None and e.demand.work]
    return duration(sum(known)) if known else "-"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with two digits that count."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.{0 if seconds >= 10 * length else 1}f} {unit}"
    return f"{seconds:.{0 if seconds >= 10 else 1}f} s"


def amount(size: float) -> str:
    """Bytes in powers of ten."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.{0 if unit == 'B' or size >= 10 else 1}f} {unit}"
        size /= 1000
    return f"{size:.{0 if size >= 10 else 1}f} GB"
