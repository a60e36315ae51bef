"""The plain parametrisation: every synthetic image is a learned tensor in the run's pixel space.

Images are ordered class by class, unconstrained (no clamp, no projection), with fixed one-hot targets: what DC, DSA
and DM learn. Survey section 2.1, S = {(s_i, y_i)}.
"""

import torch
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.errors import UserError
from ddpipe.settings.synthetic import pixels as record
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch


class Pixels(Synthetic):
    """V = K * IPC learned images, unconstrained; IPC of each class that has any. An address is a row number; rows are
    ordered class by class.

    Args:
        images: (V, c, h, w) start values in the run's pixel space.
        classes: (V,) class of each image, ascending.
        num_classes: K.
    """

    def __init__(self, images: Tensor, classes: Tensor, num_classes: int):
        super().__init__(classes, num_classes, images)
        self.images = nn.Parameter(images.detach().clone())  # (V, c, h, w)

    def decode(self, index: Tensor | None = None) -> Batch:
        if index is None:
            return Batch(self.images, self.targets)
        index = self.at(index)
        return Batch(self.images[index], self.targets[index])

    def groups(self) -> dict[str, list[Tensor]]:
        return {"images": [self.images]}

    def codes(self) -> dict[str, Tensor]:
        return {"images": self.images.detach()}


def make(config: record.Pixels, context: Context) -> Pixels:
    """IPC random real images of each class (`init: real`) or standard normal noise (`init: noise`)."""
    real, ipc = context.real, context.ipc
    check_images(real.class_index, ipc)
    draw, num_classes = context.rng("synthetic.init"), len(real.class_index)
    peopled = config.classes or num_classes
    if peopled > num_classes:
        raise UserError(f"synthetic.classes: {peopled}, but there are {num_classes}; lower it, or leave it out for all")
    classes = torch.arange(peopled).repeat_interleave(ipc)
    if config.init == "real":
        images = torch.cat([real.sample(label, ipc, draw) for label in range(peopled)])
    else:
        shape = real.batch(torch.zeros(1, dtype=torch.int64)).shape[1:]
        images = torch.randn(len(classes), *shape, generator=draw).to(real.labels.device)
    return Pixels(images, classes, num_classes)
