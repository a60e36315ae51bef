"""The plain parametrisation: every synthetic image is a learned tensor in the run's pixel space.

Images are ordered class by class, unconstrained (no clamp, no projection), with fixed one-hot targets: what DC, DSA
and DM learn. Survey section 2.1, S = {(s_i, y_i)}.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import settings
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.randomness import Streams
from ddpipe.training.batch import Batch, chunks


class Pixels(nn.Module):
    """V = K * IPC learned images. An address is a row number; rows are ordered class by class.

    Args:
        images: (V, c, h, w) start values in the run's pixel space.
        classes: (V,) class of each image, ascending.
        num_classes: K.
    """

    classes: Tensor
    targets: Tensor

    def __init__(self, images: Tensor, classes: Tensor, num_classes: int):
        super().__init__()
        self.images = nn.Parameter(images.detach().clone())  # (V, c, h, w)
        self.register_buffer("classes", classes.to(images.device))  # (V,)
        self.register_buffer("targets", F.one_hot(self.classes, num_classes).to(images))  # (V, K)
        self.sizes = torch.bincount(classes, minlength=num_classes).tolist()  # images of each class

    def __len__(self) -> int:
        return len(self.images)

    def decode(self, index: Tensor | None = None) -> Batch:
        """The images and targets at the addresses `index`; of the whole set, in order, when left out."""
        if index is None:
            return Batch(self.images, self.targets)
        return Batch(self.images[index], self.targets[index])

    def batches(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses for one student: random batches of `batch` images (None: all), without end."""
        return chunks(len(self), batch, rng)

    def assign_targets_(self, targets: Tensor) -> None:
        """Targets (V, K) given by an expert (TESLA) take the place of the one-hot ones."""
        self.targets.copy_(targets)

    def groups(self) -> dict[str, list[Tensor]]:
        return {"images": [self.images]}

    def project_(self) -> None:
        """DC, DSA and DM leave the images unconstrained."""

    def stored_floats(self) -> int:
        return self.images.numel()


def start(config: settings.Pixels, real: Resident, ipc: int, rng: Streams) -> Pixels:
    """IPC random real images of each class (`init: real`) or standard normal noise (`init: noise`)."""
    check_ipc(ipc, real)
    draw, num_classes = rng("synthetic.init"), len(real.class_index)
    classes = torch.arange(num_classes).repeat_interleave(ipc)
    if config.init == "real":
        images = torch.cat([real.sample(label, ipc, draw) for label in range(num_classes)])
    else:
        shape = real.batch(torch.zeros(1, dtype=torch.int64)).shape[1:]
        images = torch.randn(len(classes), *shape, generator=draw).to(real.labels.device)
    return Pixels(images, classes, num_classes)


def check_ipc(ipc: int, real: Resident) -> None:
    """A class with fewer images than IPC cannot be compared with its own coresets: refused."""
    sizes = [len(rows) for rows in real.class_index]
    if ipc > min(sizes):
        smallest = sizes.index(min(sizes))
        raise UserError(f"ipc: {ipc} is more than the {min(sizes)} training images of class {smallest}; lower it")
