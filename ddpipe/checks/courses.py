"""That what is to be seen of a cell while it is distilled can be seen: the entries of `courses:`."""

import contextlib
from collections.abc import Iterator

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings.reading import did_you_mean


def courses(config: Config) -> Iterator[str]:
    """One sentence a mistake; numbers beyond the cell's iterations are a misfit of its settings."""
    for cell, entry in config.courses.items():
        where, buffers, named = f"courses.{cell}", config.params.experts, entry.experts
        if cell not in config.rows:
            yield f"{where}.cell: {cell!r} is not under grid:{did_you_mean(cell, list(config.rows))}"
            continue
        row = config.rows[cell]
        for field in ("dataset", "data"):
            if (theirs := getattr(entry, field)) != (own := getattr(row, field)):
                yield f"{where}.{field}: {theirs!r}, but the cell's is {own!r}; use the cell's"
        if named not in buffers:
            yield f"{where}.experts: {named!r} is not under experts:{did_you_mean(named, list(buffers))}"
        elif buffers[named].data != row.data:
            yield (
                f"{where}.experts: {named} was trained on {buffers[named].data!r}, but the cell's data is "
                f"{row.data!r}; name a buffer of these"
            )
        if row.ipc == "all":
            yield f"{where}: as many images as the data are compared with no random selection; remove it"
        with contextlib.suppress(UserError):  # of which others speak
            if config.resolved(cell).kind == "selection":
                yield f"{where}: {row.method} (of {config.sources(row)}) chooses its images and distils none; remove it"
