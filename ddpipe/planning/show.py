"""The plan for people: what happens to which stages and why, and what that costs."""

import textwrap
from collections.abc import Iterable

from ddpipe.config import Config
from ddpipe.planning.estimate import STAGES, Estimate
from ddpipe.planning.steps import AFTER, MEANING, RUNS, UP_TO_DATE, Step, checkpoints, resume_point

EXPENSIVE = 5  # stages that are named


def states(config: Config, steps: list[Step], names: bool = True) -> str:
    """A count for each state and, with `names`, the stages with something to do, by reason."""
    lines = []
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


def costs(found: list[Estimate], unknown: list[str], device: str, cells: bool = False) -> str:
    """What the stages that would run cost, by group; with `cells` also by method and dataset."""
    lines = [f"cost of what would run, on {device}:", row("", "stages", "device time", "disk")]
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
        lines += by_method(found)
    if left := sum(e.seconds is None for e in found):
        lines.append(f"not calibrated: {left} stages, left out of the times")
    return "\n".join([*lines, *(f"not counted: {reason}" for reason in unknown)])


def total(name: str, found: list[Estimate]) -> str:
    return row(name, str(len(found)), seconds_of(found), amount(sum(e.demand.bytes for e in found)))


def row(name: str, stages: str, time: str, size: str) -> str:
    return f"  {name:10}{stages:>8}{time:>14}{size:>12}"


def by_method(found: list[Estimate]) -> list[str]:
    """Device time by method and dataset; experts and prepared data belong to no method."""
    mine = [e for e in found if e.demand.method]
    methods, datasets = (list(dict.fromkeys(getattr(e.demand, what) for e in mine)) for what in ("method", "dataset"))
    width = max(map(len, methods), default=0) + 2
    columns = [max(10, len(dataset) + 2) for dataset in datasets]
    lines = ["  " + " " * width + "".join(f"{d:>{w}}" for d, w in zip(datasets, columns, strict=True))]
    for method in methods:
        cells = [[e for e in mine if (e.demand.method, e.demand.dataset) == (method, d)] for d in datasets]
        texts = (f"{seconds_of(c):>{w}}" for c, w in zip(cells, columns, strict=True))
        lines.append(f"  {method:{width}}" + "".join(texts))
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


def wrapped(text: str) -> list[str]:
    return ["  " + line for line in textwrap.wrap(text, 116, break_on_hyphens=False, subsequent_indent="  ")]
