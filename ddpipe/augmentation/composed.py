"""IDC's composition of DSA's operations (Kim et al., ICML 2022): most of them every time, not one of them all.

Flips first, then colours, then exactly one of crop, scale and rotate, cutout last, each only where the strategy names
it. DSA draws one single operation from the whole list.
"""

import torch
from torch import Tensor

from ddpipe.augmentation.siamese import INTEGER_DRAWS, OPERATIONS, UNIFORM_DRAWS, Draw, choice, parameters
from ddpipe.settings.strategy import allowed

BEFORE = ("flip", "color")  # always, in this order
AFTER = ("cutout",)  # always
ROWS = UNIFORM_DRAWS | INTEGER_DRAWS  # of an operation's parameters


class ComposedAugment:
    """`strategy` is "idc:" and operations joined by "_", in any order; `flip=False` drops "flip".

    Same interface as `siamese.Augment`, and as differentiable. A draw has the operation that was chosen for the whole
    batch ("none" where there is no choice) and the parameters of all operations in the order in which they are applied,
    as one float tensor. UserError: an unknown operation, or none left.
    """

    def __init__(self, strategy: str, flip: bool = True):
        self.operations = allowed(strategy, flip)
        self.choices = tuple(name for name in self.operations if name not in BEFORE + AFTER)

    def applied(self, operation: str) -> tuple[str, ...]:
        """What a draw that chose `operation` applies, in order."""
        chosen = (operation,) if self.choices else ()
        return tuple(name for name in (*BEFORE, *chosen, *AFTER) if name in self.operations)

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        """An operation and `n` columns of parameters for images of height x width, on the CPU; n = 1: Siamese."""
        operation = choice(self.choices, rng) if self.choices else "none"
        rows = [parameters(name, rng, n, height, width).float() for name in self.applied(operation)]
        return Draw(operation, torch.cat(rows))

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """`images` (n, c, h, w), any device and dtype, under `draw`."""
        names = self.applied(draw.operation)
        for name, own in zip(names, draw.parameters.split([ROWS[name] for name in names]), strict=True):
            images = OPERATIONS[name](images, *own)
        return images
