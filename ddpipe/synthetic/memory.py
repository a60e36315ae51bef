"""RTP's addressable memory (Deng and Russakovsky, NeurIPS 2022); survey Eq. 35.

An example is a weighted sum of bases, which all classes share, brought to the size of an image by bilinear
interpolation. Its weights are its address. All of it is linear: no softmax, no normalisation, no clamp.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.errors import UserError
from ddpipe.settings.shapes import Shape
from ddpipe.settings.synthetic import memory as record
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch


def recall(bases: Tensor, addresses: Tensor, downsampling: int) -> Tensor:
    """Images (n, c, h s, w s) at `addresses` (n, K) of `bases` (K, c, h, w), enlarged s = `downsampling` times."""
    small = (addresses @ bases.flatten(1)).unflatten(1, bases.shape[1:])  # n c h w
    if downsampling == 1:
        return small
    return F.interpolate(small, scale_factor=downsampling, mode="bilinear", align_corners=False)


class Memory(Synthetic):
    """V = classes * r examples: r addresses of each class, class by class, into K bases.

    Args:
        bases: (K, c, h, w) start values.
        addresses: (V, K) start values; address v belongs to class v // r.
        downsampling: side of an image over that of a base.
        num_classes: number of classes.
    """

    def __init__(self, bases: Tensor, addresses: Tensor, downsampling: int, num_classes: int):
        classes = torch.arange(num_classes).repeat_interleave(len(addresses) // num_classes)
        super().__init__(classes, num_classes, bases)
        self.downsampling = downsampling
        self.bases = nn.Parameter(bases.detach().clone())
        self.addresses = nn.Parameter(addresses.detach().clone())

    def decode(self, index: Tensor | None = None) -> Batch:
        chosen = slice(None) if index is None else self.at(index)
        return Batch(recall(self.bases, self.addresses[chosen], self.downsampling), self.targets[chosen])

    def groups(self) -> dict[str, list[Tensor]]:
        return {"bases": [self.bases], "addresses": [self.addresses]}

    def codes(self) -> dict[str, Tensor]:
        return {"bases": self.bases.detach(), "addresses": self.addresses.detach()}


def make(config: record.Memory, context: Context) -> Memory:
    """Both matrices, bases (K, c h w) and addresses (V, K), by Xavier's uniform law: first images are almost zero.

    Raises:
        UserError: the bases alone leave nothing of the budget, or cannot be enlarged to an image.
    """
    real, ipc = context.real, context.ipc
    check_images(real.class_index, ipc)
    channels, side, _ = real.images.shape[1:]
    shape = Shape(channels, side, len(real.class_index))
    if why := config.refusal(shape, ipc):
        raise UserError(f"synthetic.{why}")
    small = side // config.downsampling
    draw, device = context.rng("synthetic.init"), real.labels.device
    bases = xavier(config.bases, channels * small**2, draw).view(-1, channels, small, small)
    addresses = xavier(shape.classes * config.examples(shape, ipc), config.bases, draw)
    made = Memory(bases.to(device), addresses.to(device), config.downsampling, shape.classes)
    assert made.stored_floats() <= ipc * shape.classes * shape.values, "the record derives r from the budget"
    return made


def xavier(rows: int, columns: int, rng: torch.Generator) -> Tensor:
    """(rows, columns) uniform in +- sqrt(6 / (rows + columns))."""
    return nn.init.xavier_uniform_(torch.empty(rows, columns), generator=rng)
