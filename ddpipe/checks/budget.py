"""That what a cell stores is worth no more than its IPC in images: known before anything runs where the shape is.

Part of `ddpipe check`, so without torch: `stages.distill` counts the tensors themselves (a test compares).
"""

from collections.abc import Iterator

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.planning.shapes import data_of


def budget(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    for cell, row, resolved in config.cells():
        try:
            known = data_of(config, row.data)
        except UserError:
            continue
        if known is None or row.ipc == "all":
            continue
        if why := resolved.overspent(resolved.floats(known.shape, row.ipc), known.shape, row.ipc):
            yield f"methods.{row.method}.synthetic ({cell}): {why}"
