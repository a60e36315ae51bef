"""That there is a set of the cell's IPC, worth no more than so many images: known before anything runs.

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
        if resolved.kind == "distillation" and (why := resolved.synthetic.refusal(known.shape, row.ipc)):
            yield f"methods.{row.method}.synthetic.{why} (for {cell})"
            continue
        if getattr(resolved, "excess", False):
            continue
        floats = resolved.floats(known.shape, row.ipc)
        worth = floats / known.shape.values / known.shape.classes
        if worth > row.ipc:
            yield (
                f"methods.{row.method}.synthetic ({cell}): stores {floats} floats, worth {worth:.2f} images per class; "
                f"the cell allows {row.ipc}: store less, or say excess: true and the report shows it"
            )
