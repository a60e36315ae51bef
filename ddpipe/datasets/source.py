"""What every reader returns, and what has to hold for it whatever the source."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddpipe.errors import UserError
from ddpipe.randomness import generator


@dataclass(frozen=True)
class Source:
    """One data set as it was read.

    Images uint8 (n, c, h, w) with 1 or 3 channels, labels int64 (n,) counting `classes` from 0.
    provenance: where the images come from and how they were split, for data.json.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    provenance: dict[str, Any]


def split(name: str, images: Tensor, labels: Tensor, test_fraction: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train images, train labels, test images, test labels: of every class round(n * test_fraction) images, at least
    one, are taken for testing, at random but always the same ones for a data set of this name; order is kept."""
    rng = generator("split", name)
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        rows = (labels == label).nonzero().flatten()
        if len(rows) == 1:
            raise UserError(
                f"datasets.{name}.test_fraction: class number {label} has a single image, which cannot be both in the "
                "training and in the test part; add images or drop the class"
            )
        n = min(max(1, round(len(rows) * test_fraction)), len(rows) - 1)
        test[rows[torch.randperm(len(rows), generator=rng)[:n]]] = True
    return images[~test], labels[~test], images[test], labels[test]


def check(name: str, source: Source) -> None:
    """Refuse what no method could use: wrong shapes, fewer than two classes, an empty class, a constant channel."""
    where = f"datasets.{name}"
    for part, images in (("training", source.train_images), ("test", source.test_images)):
        if images.shape[2] != images.shape[3]:
            raise UserError(
                f"{where}: the {part} images are {images.shape[2]} x {images.shape[3]} (height x width) but must be "
                f"square; {squaring(source)}"
            )
    if source.train_images.shape[1:] != source.test_images.shape[1:]:
        shapes = " and ".join(str(tuple(images.shape[1:])) for images in (source.train_images, source.test_images))
        raise UserError(f"{where}: training and test images differ in shape (c, h, w): {shapes}; {squaring(source)}")
    if len(source.classes) < 2:
        raise UserError(f"{where}: there is only one class, {source.classes[0]!r}; at least two are needed")
    for part, labels in (("training", source.train_labels), ("test", source.test_labels)):
        for label, n in enumerate(torch.bincount(labels, minlength=len(source.classes)).tolist()):
            if n == 0:
                raise UserError(
                    f"{where}: class number {label} ({source.classes[label]!r}) has no {part} images; add some or "
                    "leave the class out"
                )
    low, high = source.train_images.amin((0, 2, 3)), source.train_images.amax((0, 2, 3))
    for channel in (low == high).nonzero().flatten().tolist():
        raise UserError(
            f"{where}: every pixel of channel {channel} of the training images has the value {int(low[channel])}, so "
            "there is nothing to learn from it; check how the images were saved"
        )


def squaring(source: Source) -> str:
    return (
        "set its `resolution` to the side they shall be resized to"
        if source.provenance.get("reader") == "folder"
        else "save them square and of one size"
    )
