"""One part of a dataset on the device as a single tensor: batches are index operations, there is no DataLoader."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ddpipe.datasets.preprocessing import Preprocessing, pieces
from ddpipe.errors import UserError
from ddpipe.sending import sent

GIB = 2**30  # bytes


class Resident:
    """Images (N, c, h, w) of one part with their labels, ready to be drawn from.

    They are preprocessed once, here, unless that would take more than a GiB: then they stay uint8 and are standardised
    batch by batch (whitening is never done twice). Either way `batch` gives the same images as `preprocessing.apply`.
    labels: (N,) int64 on the device. class_index: the row numbers of each class, ascending, int64 on the CPU.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, preprocessing: Preprocessing, device: torch.device | str = "cpu"
    ):
        self.preprocessing = preprocessing.to(device)
        self.images = images.to(device)
        if not preprocessing.pointwise or 4 * images.numel() <= GIB:
            ready = torch.empty(images.shape, dtype=self.preprocessing.scale.dtype, device=device)
            for chunk, place in zip(pieces(self.images), pieces(ready), strict=True):
                place.copy_(self.preprocessing.transform(chunk))
            self.images = ready
        self.labels = labels.to(device)
        rows = labels.cpu()
        self.class_index = [(rows == label).nonzero().flatten() for label in range(int(rows.max()) + 1)]

    def batch(self, index: Tensor) -> Tensor:
        """Images of the rows `index` (n,) in the run's pixel space, float32 (n, c, h, w)."""
        images = self.images.index_select(0, sent(index, self.images.device))
        return images if images.is_floating_point() else self.preprocessing.transform(images)

    def sample_index(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        """n random rows of class `label` without replacement, or all in random order if it has fewer; on the CPU."""
        rows = self.class_index[label]
        return rows[torch.randperm(len(rows), generator=rng)[:n]]

    def sample(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        """The images of `sample_index`."""
        return self.batch(self.sample_index(label, n, rng))


def check_images(class_index: Sequence[Tensor], count: int, key: str = "ipc") -> None:
    """UserError about `key`: a class has fewer images than `count`, so it has no coresets of that size either."""
    sizes = [len(rows) for rows in class_index]
    if count > min(sizes):
        told = f"{count} is more than the {min(sizes)} training images of class {sizes.index(min(sizes))}"
        raise UserError(f"{key}: {told}; lower it")
