"""An augmentation whose draws can be used once more: by a reference, after the pipeline."""

import torch

from ddpipe.augmentation.siamese import Augment, Draw


class Noting(Augment):
    """Keeps its draws in `draws`, in order."""

    def __init__(self, strategy: str):
        super().__init__(strategy)
        self.draws: list[Draw] = []

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        self.draws.append(super().draw(rng, n, height, width))
        return self.draws[-1]
