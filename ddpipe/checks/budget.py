"""That there is a set of the cell's IPC, worth no more than so many images: known before anything runs.

Part of `ddpipe check`, so without torch: `stages.distill` counts the tensors themselves (a test compares).
"""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.planning.shapes import data_of
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape


def budget(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    for cell, row, resolved in config.cells():
        try:
            known = data_of(config, row.data)
        except UserError:
            continue
        if known is None or row.ipc == "all":
            continue
        if why := resolved.refusal(known.shape, row.ipc):
            yield f"methods.{row.method}.{why} (for {cell})"
            continue
        if why := overspent(resolved, resolved.floats(known.shape, row.ipc), known.shape, row.ipc):
            yield f"methods.{row.method}.synthetic ({cell}): {why}"


def overspent(resolved: settings.Cell, floats: int, shape: Shape, ipc: int) -> str | None:
    """Why one set may not store so many floats, and which keys store less; None: it may."""
    worth = floats / shape.values / shape.classes
    if worth <= ipc or getattr(resolved, "excess", False):
        return None
    learned = resolved.parts().get("synthetic")
    keys = [f"synthetic.{key}" for key in learned.storing] if isinstance(learned, Synthetic) else []
    less = f"lower {' or '.join(keys)}" if keys else "store less"
    told = f"stores {floats} floats, worth {worth:.2f} images per class; the cell allows {ipc}"
    return f"{told}: {less}, or say excess: true and the report shows it"
