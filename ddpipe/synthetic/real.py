"""Random real images, which stay as they are: what LD (Bohdal et al., 2020) learns labels for.

With labels that are not learned either, it is the rival that a method has to beat under its own evaluation.
"""

import torch
from torch import Tensor

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.settings.synthetic import real as record
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch


class Real(Synthetic):
    """V = K * IPC images. An address is a row number; rows are ordered class by class.

    Args:
        images: (V, c, h, w) in the run's pixel space.
        classes: (V,) class of each image, ascending.
        num_classes: K.
    """

    images: Tensor

    def __init__(self, images: Tensor, classes: Tensor, num_classes: int):
        super().__init__(classes, num_classes, images)
        self.register_buffer("images", images)

    def decode(self, index: Tensor | None = None) -> Batch:
        if index is None:
            return Batch(self.images, self.targets)
        index = self.at(index)
        return Batch(self.images[index], self.targets[index])

    def groups(self) -> dict[str, list[Tensor]]:
        return {}

    def codes(self) -> dict[str, Tensor]:
        return {"images": self.images}


def make(config: record.Real, context: Context) -> Real:
    """IPC random images of each class, the same in every cell of a dataset: what is learned for them is compared."""
    real, ipc = context.real, context.ipc
    check_images(real.class_index, ipc)
    draw, classes = (context.common or context.rng)("synthetic.real"), torch.arange(len(real.class_index))
    images = torch.cat([real.sample(label, ipc, draw) for label in classes.tolist()])
    return Real(images, classes.repeat_interleave(ipc), len(classes))
