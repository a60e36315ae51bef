"""That the parts of a cell fit together: what `compose` refuses, said before anything runs, without torch."""

from collections.abc import Iterator

from ddpipe.config import Config


def parts(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    for cell, row, resolved in config.cells():
        for mistake in resolved.misfits():
            yield f"methods.{row.method} ({cell}): {mistake} (settings of {config.sources(row)})"
