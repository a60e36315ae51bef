"""IDC's parametrisation (Kim et al., ICML 2022): an image in [0, 1] holds factor x factor smaller ones.

Decoding cuts it into patches, enlarges each to the whole size, and only then takes it to the run's pixel space. Learned
images leave [0, 1] freely and are brought back when a new network begins. IDC's other schemes, all factors up to one
and a bound for what is decoded, are left out: its published runs do not use the first, and of these datasets none
needs the second.
"""

from collections.abc import Callable
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.settings.synthetic import multiformation as record
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch

GREY = 0.5  # fills what a side lacks to be a multiple of the factor


def formed(images: Tensor, factor: int, rows: Tensor, places: Tensor) -> Tensor:
    """Patch `places[i]`, counted along the rows of patches, of image `rows[i]`, enlarged bilinearly: (n, c, h, h).

    Args:
        images: (V, c, h, h), filled up on the right and below where h is no multiple of `factor`.
        rows, places: (n,) in 0, ..., V - 1 and in 0, ..., factor^2 - 1.
    """
    side = images.shape[3]
    lacking = -side % factor
    filled = F.pad(images, (0, lacking, 0, lacking), value=GREY) if lacking else images
    patches = filled.unflatten(3, (factor, -1)).unflatten(2, (factor, -1))  # V c f s f s
    chosen = patches.permute(0, 2, 4, 1, 3, 5)[rows, places // factor, places % factor]  # n c s s
    return F.interpolate(chosen, size=(side, side), mode="bilinear", align_corners=False)


def mixed(pool: Tensor, factor: int) -> Tensor:
    """Images (n, c, h, h) of factor x factor cells, each a real one shrunk by taking every so manieth pixel.

    Cell k, counted along the rows, of image m is pool image k n + m; where h is no multiple of `factor`, the first rows
    and columns of cells are larger by a pixel.

    Args:
        pool: (factor^2 n, c, h, h).
    """
    side = pool.shape[3]
    lengths = [side // factor + (number < side % factor) for number in range(factor)]
    spans = [slice(*ends) for ends in pairwise([0, *accumulate(lengths)])]
    images = pool.new_empty(len(pool) // factor**2, *pool.shape[1:])
    cells = iter(pool.split(len(images)))
    for rows in spans:
        for columns in spans:
            size = (rows.stop - rows.start, columns.stop - columns.start)
            images[:, :, rows, columns] = F.interpolate(next(cells), size=size, mode="nearest")
    return images


class MultiFormation(Synthetic):
    """V = K * IPC * factor^2 examples of K * IPC images. Addresses go class by class, place by place, image by image.

    Args:
        images: (K * IPC, c, h, h) start values in [0, 1].
        classes: (K * IPC,) class of each image, ascending, of each class as many.
        num_classes: K.
        transform: takes decoded images, times 255, to the run's pixel space.
    """

    rows: Tensor  # (V,) the image behind each example
    places: Tensor  # (V,) and its patch

    def __init__(
        self,
        images: Tensor,
        classes: Tensor,
        num_classes: int,
        factor: int,
        transform: Callable[[Tensor], Tensor],
    ):
        shape = (num_classes, factor**2, len(images) // num_classes)
        rows = torch.arange(len(images)).view(num_classes, 1, -1).expand(shape).flatten()
        super().__init__(classes[rows], num_classes, images)
        places = torch.arange(factor**2).view(1, -1, 1).expand(shape).flatten()
        self.register_buffer("rows", rows.to(images.device), persistent=False)
        self.register_buffer("places", places.to(images.device), persistent=False)
        self.images = nn.Parameter(images.detach().clone())
        self.factor, self.transform = factor, transform

    def decode(self, index: Tensor | None = None) -> Batch:
        chosen = slice(None) if index is None else self.at(index)
        examples = formed(self.images, self.factor, self.rows[chosen], self.places[chosen])
        return Batch(self.transform(255 * examples), self.targets[chosen])

    @torch.no_grad()
    def begin_(self) -> None:
        self.images.clamp_(0, 1)

    def groups(self) -> dict[str, list[Tensor]]:
        return {"images": [self.images]}

    def codes(self) -> dict[str, Tensor]:
        return {"formations": self.images.detach()}


def make(config: record.MultiFormation, context: Context) -> MultiFormation:
    """The first images of each class, in the data's order: IPC * factor^2 of them are mixed. A class that has fewer is
    gone through again."""
    real, ipc = context.real, context.ipc
    check_images(real.class_index, ipc)
    count, starts = ipc * config.factor**2, []
    for rows in real.class_index:
        pool = real.preprocessing.invert(real.batch(rows[torch.arange(count) % len(rows)]))
        starts.append(mixed((255 * pool).round().clamp(0, 255) / 255, config.factor))  # the values of the files again
    classes = torch.arange(len(starts)).repeat_interleave(ipc)
    return MultiFormation(torch.cat(starts), classes, len(starts), config.factor, real.preprocessing.transform)
