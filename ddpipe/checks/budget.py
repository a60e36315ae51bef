"""That what a cell stores is worth no more than its IPC in images: known before anything runs where the shape is.

Part of `ddpipe check`, so without torch: `stages.distill` counts the tensors themselves (a test compares).
"""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.planning.shapes import Shape, data_of
from ddpipe.planning.work import BASES


def budget(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    for cell, row in config.rows.items():
        try:
            resolved, known = config.resolved(cell), data_of(config, row.data)
        except UserError:
            continue
        if known is None or row.ipc == "all" or not isinstance(resolved, settings.Distillation) or resolved.excess:
            continue
        floats = stored(resolved.synthetic, known.shape, row.ipc)
        worth = floats / known.shape.values / known.shape.classes
        if worth > row.ipc:
            yield (
                f"methods.{row.method}.synthetic ({cell}): stores {floats} floats, worth {worth:.2f} images per class; "
                f"the cell allows {row.ipc}: store less, or say excess: true and the report shows it"
            )


def stored(synthetic: settings.Pixels | settings.Hallucinator, shape: Shape, ipc: int) -> int:
    """Floats of one set."""
    bases = shape.classes * BASES[type(synthetic)](synthetic, ipc)
    if isinstance(synthetic, settings.Pixels):
        return bases * shape.values
    inputs, outputs, side = synthetic.channels or shape.channels, shape.channels, shape.resolution
    affine = 2 * outputs * (side - 2) ** 2  # scale and shift of the maps between two 3x3 convolutions
    convolutions = outputs * inputs * 9 + outputs + outputs * outputs * 9 + outputs
    return bases * inputs * side**2 + synthetic.hallucinators * (affine + convolutions)
