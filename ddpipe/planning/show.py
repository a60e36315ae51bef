"""The plan for people: what happens to which stages and why, and what that costs."""

import textwrap
from collections.abc import Iterable

from ddpipe.config import Config
from ddpipe.planning.estimate import STAGES, Estimate
from ddpipe.planning.steps import AFTER, MEANING, RUNS, UP_TO_DATE, Step, checkpoints, resume_point

GROUPS = ["resolve", *STAGES, "report", "page"]
EXPENSIVE = 5  # stages that are named


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
        lines.append(
            f"{state} ({meaning}): {count}, {cells} of them distil" if cells else f"{state} ({meaning}): {count}"
        )
        alike: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
        for step in chosen if names and state != UP_TO_DATE else ():
            resume = resume_point(checkpoints(config, step)) if state in (RUNS, AFTER) else ""
            alike.setdefault((step.group, step.reasons, resume), []).append(step.name)
        for (_, reasons, resume), stages in alike.items():
            checkpoint = (f"checkpoint: {resume}, used if its inputs are the same",) if resume else ()
            lines += ["  " + line for line in textwrap.wrap(" ".join(stages), 116, break_on_hyphens=False)]
            lines += [f"      {'; '.join((*reasons, *checkpoint))}"] if (*reasons, *checkpoint) else []
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
    """Device time of cells by method and dataset, in the order of params.yaml."""
    mine = [e for e in found if e.demand.method]
    datasets = [name for name in config.params.datasets if any(e.demand.dataset == name for e in mine)]
    lines = [["", *datasets, "total"]]
    for method in config.params.methods:
        own = [e for e in mine if e.demand.method == method]
        if own:
            lines.append([method, *(seconds_of(e for e in own if e.demand.dataset == d) for d in datasets)])
            lines[-1].append(seconds_of(own))
    lines.append(["total", *(seconds_of(e for e in mine if e.demand.dataset == d) for d in datasets), seconds_of(mine)])
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    return [
        "  " + first.ljust(widths[0]) + "".join(text.rjust(w) for text, w in zip(rest, widths[1:], strict=True))
        for first, *rest in lines
    ]


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


def wrapped(text: str) -> list[str]:
    return ["  " + line for line in textwrap.wrap(text, 116, break_on_hyphens=False, subsequent_indent="  ")]
