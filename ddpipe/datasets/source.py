"""What every reader returns, and what has to hold for it whatever the source."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import category

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.errors import UserError
from ddpipe.memory import images_at_once
from ddpipe.randomness import generator
from ddpipe.settings.reading import did_you_mean
from ddpipe.settings.shapes import indivisible


@dataclass(frozen=True)
class Part:
    """The training or the test part of a data set: its labels at once, its images only when they are asked for.

    labels: (n,) int64. shape: (c, h, w) of every image, with 1 or 3 channels.
    load: ascending row numbers (m,) of the source -> those images, uint8 (k, c, h, w) a time, m in all.
    rows: (n,) ascending, which row of the source each image is.
    """

    labels: Tensor
    shape: tuple[int, int, int]
    load: Callable[[Tensor], Iterator[Tensor]]
    rows: Tensor

    def images(self) -> Iterator[Tensor]:
        """The images in the order of the labels, uint8 (k, c, h, w) a time."""
        return self.load(self.rows)

    def pick(self, index: Tensor) -> "Part":
        """Only the images at `index`: ascending numbers or a mask (n,)."""
        return replace(self, labels=self.labels[index], rows=self.rows[index])


def lazy(labels: Tensor, shape: tuple[int, int, int], load: Callable[[Tensor], Iterator[Tensor]]) -> Part:
    """A part with every row of its source."""
    return Part(labels, shape, load, torch.arange(len(labels)))


def in_memory(images: Tensor, labels: Tensor) -> Part:
    """A part whose images, uint8 (n, c, h, w), are small enough to be held."""
    channels, height, width = images.shape[1:]
    some = images_at_once(channels * height * width)
    return lazy(labels, (channels, height, width), lambda rows: (images[chunk] for chunk in rows.split(some)))


def within(rows: Tensor, start: int, stop: int) -> Tensor:
    """Of ascending row numbers those in [start, stop), counted from start: for sources that are read front to back."""
    low, high = torch.searchsorted(rows, torch.tensor([start, stop])).tolist()
    return rows[low:high] - start


@dataclass(frozen=True)
class Source:
    """One data set as a reader finds it. The labels count `classes` from 0.

    provenance: where the images come from and how they were split, for data.json.
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    provenance: dict[str, Any]


def split(where: str, name: str, whole: Part, test_fraction: float, classes: tuple[str, ...]) -> tuple[Part, Part]:
    """Training and test part: of every class round(n * test_fraction) images, at least one, are taken for testing, at
    random but always the same ones for a data set of this name; order is kept."""
    rng = generator("split", name)
    test = torch.zeros(len(whole.labels), dtype=torch.bool)
    for label in range(int(whole.labels.max()) + 1):
        rows = (whole.labels == label).nonzero().flatten()
        if len(rows) == 1:
            raise UserError(
                f"{where}.test_fraction: class {classes[label]!r} has a single image, which cannot be both in the "
                "training and in the test part; add images or drop the class"
            )
        n = min(max(1, round(len(rows) * test_fraction)), len(rows) - 1)
        test[rows[torch.randperm(len(rows), generator=rng)[:n]]] = True
    return whole.pick(~test), whole.pick(test)


def subset(where: str, source: Source, classes: tuple[str, ...]) -> Source:
    """Only the images of `classes`, labelled in their order; the order of the images is kept."""
    for word in classes:
        if word not in source.classes:
            known = did_you_mean(word, list(source.classes))
            if len(known) > 200:
                known = f"; its {len(source.classes)} classes are called like {source.classes[0]!r}"
            raise UserError(f"{where}.classes: the source has no class {word!r}{known}")
    new = torch.full((len(source.classes),), -1)
    new[[source.classes.index(word) for word in classes]] = torch.arange(len(classes))

    def renumbered(part: Part) -> Part:
        part = part.pick(new[part.labels] >= 0)
        return replace(part, labels=new[part.labels])

    provenance = source.provenance | {"classes": f"{len(classes)} of {len(source.classes)}"}
    return Source(renumbered(source.train), renumbered(source.test), classes, provenance)


def shrunk(where: str, source: Source, resolution: int) -> Source:
    """Images of this side, each pixel the mean of a square of pixels, rounded to 8 bits."""
    side = source.train.shape[1]
    if why := indivisible(side, resolution):
        raise UserError(f"{where}.{why}")
    if side == resolution:
        return source
    square = side // resolution

    def small(part: Part) -> Part:
        def load(rows: Tensor) -> Iterator[Tensor]:
            for images in part.load(rows):
                yield F.avg_pool2d(images.float(), square).round().byte()

        return replace(part, shape=(part.shape[0], resolution, resolution), load=load)

    provenance = source.provenance | {"resolution": f"{resolution}, of {side}"}
    return Source(small(source.train), small(source.test), source.classes, provenance)


def check(where: str, source: Source) -> None:
    """Refuse what no method could use: wrong shapes, fewer than two classes, a class without images."""
    for title, part in (("training", source.train), ("test", source.test)):
        if part.shape[1] != part.shape[2]:
            raise UserError(
                f"{where}: the {title} images are {part.shape[1]} x {part.shape[2]} (height x width) but must be "
                f"square; {squaring(source)}"
            )
    if source.train.shape != source.test.shape:
        shapes = f"{source.train.shape} and {source.test.shape}"
        raise UserError(f"{where}: training and test images differ in shape (c, h, w): {shapes}; {squaring(source)}")
    refuse_names(where, source.classes)
    if len(source.classes) < 2:
        raise UserError(f"{where}: there is only one class, {source.classes[0]!r}; at least two are needed")
    for title, part in (("training", source.train), ("test", source.test)):
        for label, n in enumerate(torch.bincount(part.labels, minlength=len(source.classes)).tolist()):
            if n == 0:
                raise UserError(
                    f"{where}: class number {label} ({source.classes[label]!r}) has no {title} images; add some or "
                    "leave the class out"
                )


def refuse_names(where: str, classes: tuple[str, ...]) -> None:
    """Names of classes go into JSON, tables and pictures: each must be text, and a name of its own."""
    for word in classes:
        if not word or any(category(letter) in ("Cc", "Cs") for letter in word):
            raise UserError(f"{where}: a class is called {word!r}, which is no text; rename it")
    if len(set(classes)) < len(classes):
        twice = next(word for word, n in Counter(classes).items() if n > 1)
        raise UserError(f"{where}: two classes are called {twice!r}; rename one of them")


def squaring(source: Source) -> str:
    return (
        "set its `resolution` to the side they shall be resized to"
        if source.provenance.get("reader") == "folder"
        else "save them square and of one size"
    )
