"""That the cells which follow experts have a buffer to follow: its network, its snapshots, enough epochs."""

import math
from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.settings.part import Students


def buffers(config: Config) -> Iterator[str]:
    """One sentence a mistake. That the buffer exists and has the row's data is `check.needs`' business."""
    networks = config.params.networks
    for cell, row, students, epochs in followers(config):
        name = row.buffer
        if name is None:
            told = f"{row.method} (of {config.sources(row)}) has students that follow experts"
            yield f"grid.{cell}.needs: {told}: name data/experts/<buffer>, trained on {row.data!r}"
            continue
        buffer = config.params.experts.get(name)
        if buffer is None:
            continue
        if networks.get(buffer.network) != networks.get(row.student):
            yield (
                f"grid.{cell}.student: {row.student!r}, but {row.needs} holds networks {buffer.network!r}; "
                "name a buffer of this network"
            )
        if buffer.keep != "all":
            told = f"{cell} (of {config.sources(row)}) follows whole trajectories"
            yield f"experts.{name}.keep: {buffer.keep!r}, but {told}; set it to all"
        elif buffer.passes < epochs:
            yield (
                f"experts.{name}.epochs: {buffer.epochs}, but {cell} goes up to {epochs} by its "
                f"{students.reach} (of {config.sources(row)}); "
                f"set it to {epochs} or more"
            )


def notes(config: Config) -> Iterator[str]:
    """Buffers that train further than any of their cells looks: no mistake, but device time for nothing."""
    furthest: dict[str, float] = {}
    followed = {cell: epochs for cell, _, _, epochs in followers(config)}
    for cell, row in config.rows.items():
        name = row.buffer or ""
        furthest[name] = max(furthest.get(name, 0), followed.get(cell, math.inf))  # herding takes the last, however far
    for name, buffer in config.params.experts.items():
        if buffer.passes > furthest.get(name, math.inf):
            yield f"experts.{name}.epochs: {buffer.epochs}, but its cells go up to {furthest[name]}: so many would do"


def followers(config: Config) -> Iterator[tuple[str, settings.Row, Students, int]]:
    """The rows whose students follow whole trajectories, their students, and how many epochs of them."""
    for cell, row, resolved in config.cells():
        if isinstance(resolved, settings.Distillation) and (epochs := resolved.students.epochs) is not None:
            yield cell, row, resolved.students, epochs
