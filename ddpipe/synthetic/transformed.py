"""RFAD's parametrisation (Loo et al., NeurIPS 2022): the set's images are X B, of which both factors are learned.

X (V, D) holds images, flattened channel by channel, and B (D, D), the same for all, begins as the identity. Any set of
images can be had with B left alone: B changes how gradients move them, not what they can be. So the products are handed
over, and B is no part of the set. The paper does not speak of it, its code has it.
"""

import torch
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.settings.synthetic import transformed as record
from ddpipe.settings.synthetic.pixels import Pixels as PixelsRecord
from ddpipe.synthetic import pixels
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch


class Transformed(Synthetic):
    """V = K * IPC learned images times a learned matrix. An address is a row number, class by class.

    Args:
        images: (V, c, h, w) start values in the run's pixel space.
        classes: (V,) class of each image, ascending.
        num_classes: K.
    """

    def __init__(self, images: Tensor, classes: Tensor, num_classes: int):
        super().__init__(classes, num_classes, images)
        self.images = nn.Parameter(images.detach().clone())  # (V, c, h, w)
        self.transform = nn.Parameter(torch.eye(images[0].numel()).to(images))  # (D, D)

    def decode(self, index: Tensor | None = None) -> Batch:
        chosen = slice(None) if index is None else self.at(index)
        images, targets = self.images[chosen], self.targets[chosen]
        return Batch((images.flatten(1) @ self.transform).view_as(images), targets)

    def groups(self) -> dict[str, list[Tensor]]:
        return {"images": [self.images], "transform": [self.transform]}

    @torch.no_grad()
    def codes(self) -> dict[str, Tensor]:
        return {"images": self.decode().images}


def make(config: record.Transformed, context: Context) -> Transformed:
    """As the plain parametrisation begins."""
    started = pixels.make(PixelsRecord(name="pixels", init=config.init), context)
    return Transformed(started.images, started.classes, started.targets.shape[1])
