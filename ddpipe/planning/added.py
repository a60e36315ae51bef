"""What `ddpipe add` has written, in words: the entries, where their numbers come from, what they cost."""

import textwrap
from collections.abc import Iterator

from ddpipe.planning import show
from ddpipe.planning.additions import Growing
from ddpipe.planning.estimate import demands, estimate
from ddpipe.planning.steps import RUNS, Step

STAGES = {  # block of params.yaml -> the stages of its entries
    "own": ("own",),
    "experts": ("experts",),
    "generators": ("generators",),
    "grid": ("distill", "evaluate"),
    "evaluations": ("further",),
}
OWN = ("data", "network", "networks", "epochs")  # what `ddpipe add` chooses of a buffer


def entries(growing: Growing) -> str:
    lines = ["added to params.yaml:"]
    for block, more in growing.added.items():
        lines += wrapped(f"{block}: {', '.join(more)}")
    return "\n".join([*lines, *(line for note in notes(growing) for line in wrapped(note))])


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 118, break_on_hyphens=False, break_long_words=False, initial_indent="  ", subsequent_indent="    "
    )


def notes(growing: Growing) -> Iterator[str]:
    """Where numbers come from that nobody published for these images."""
    project = growing.config
    unpublished: dict[tuple[str, str], dict[str, None]] = {}
    for key in growing.added.get("grid", {}):
        row, recipe = project.rows[key], project.recipe(project.rows[key].recipe)
        if project.resolved(key).kind == "selection":
            continue
        if row.cell in recipe.unverified:
            yield f"note: {key}: {recipe.unverified[row.cell]}"
        elif row.cell.startswith("default"):
            unpublished.setdefault((row.cell, row.dataset), {})[row.method] = None
    for (name, dataset), methods in unpublished.items():
        yield f"note: {', '.join(methods)}: numbers of the recipe's cells.{name}, as nobody published any for {dataset}"
    before = growing.before.files["params.yaml"].get("experts") or {}
    for key, numbers in growing.added.get("experts", {}).items():
        alike = (name for name, other in before.items() if less(other) == less(numbers))
        yield (
            f"note: experts.{key}: numbers of experts.{next(alike, key)}, "
            f"{numbers['networks']} networks of {numbers['epochs']} epochs"
        )


def less(numbers: dict) -> dict:
    return {key: value for key, value in numbers.items() if key not in OWN}


def cost(growing: Growing, dataset: str) -> str:
    """About how long all of it takes on this device, from what was timed here before."""
    from ddpipe.device import choose, describe
    from ddpipe.planning.calibration import Calibration

    project = growing.config
    steps = [
        Step(f"{stage}@{key}", RUNS)
        for block, stages in STAGES.items()
        for key in growing.added.get(block, {})
        for stage in stages
    ]
    device = choose(project.params.run)
    asked, unknown = demands(project, steps, stacked=device.type == "cuda")
    found = estimate(asked, Calibration(project.root, describe(device)))
    if unknown or any(e.seconds is None for e in found):
        return f"cost: `ddpipe plan {dataset}` tells it, once it has timed these networks on this device"
    longest = sorted((e for e in found if e.seconds), key=lambda e: -(e.seconds or 0))[:3]
    named = ", ".join(f"{e.demand.step.name} {show.duration(e.seconds or 0)}" for e in longest)
    return f"cost: about {show.seconds_of(found)} on {describe(device)}; most of it {named}"
