"""The classes of an iteration in the order in which they go through a network, and how many of them at once.

What an accelerator waits for are launches: classes of as many images and of one operation of the augmentation stand
side by side there, so that a handful of operations serves any number of classes. All random numbers are drawn class by
class before, from the same generators on every device; rows and draws travel to an accelerator once an iteration. On a
CPU classes keep their own order, and each is changed by its own draw.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ddpipe.augmentation import Policy
from ddpipe.augmentation.siamese import Draw
from ddpipe.datasets.resident import Resident
from ddpipe.networks import has_batch_norm
from ddpipe.sending import sent, sent_together

# Numbers in the largest map of all images of the classes that go through a network at once.
PLAIN = 2**28  # on an accelerator where classes share one batch: a GiB a map, of which real images hold two at a time
CARD = 2**26  # and where each has weights of its own to differentiate by: so many keep it busy, graphs take a few GiB
HOST = 2**20  # the same on a CPU, whose caches end there,
ALONE = 2**16  # and this for one class: above it a class alone keeps a CPU busy, and grouped convolutions are slower

# Operations whose Siamese values are read as numbers, with neither a copy nor a kernel: of so few classes each is
# quicker by itself.
READ, FEW = frozenset({"color", "crop", "cutout", "flip"}), 2


def on_host(tensor: Tensor) -> bool:
    """Whether there are no launches to wait for."""
    return tensor.device.type == "cpu"


def largest_map(network: nn.Module, like: Tensor) -> int:
    """Numbers in the largest map of an image as of `like` (V, c, h, w), at most: as if it were as wide as the widest
    convolution and as large as the image."""
    channels = max((p.shape[0] for p in network.parameters() if p.dim() == 4), default=1)
    return channels * like.shape[-2] * like.shape[-1]


def company(network: nn.Module, n: int, like: Tensor, twice: bool) -> int:
    """How many classes of `n` images as of `like` (V, c, h, w) had better be differentiated by weights of their own at
    once.

    By sizes and the kind of device alone, so that the same settings give the same bits. A CPU gains only where
    gradients are differentiated `twice`. Batch norm is left to one class at a time.
    """
    if has_batch_norm(network):
        return 1
    numbers = n * largest_map(network, like)
    if on_host(like):
        return HOST // numbers if twice and numbers <= ALONE else 1
    return max(1, CARD // numbers)


def sharing(network: nn.Module, n: int, like: Tensor, chunk: int) -> int | None:
    """How many classes of `n` images as of `like` (V, c, h, w) share a batch: of `chunk` images, and of no fewer than
    keep an accelerator busy. None: all, as batch norm would give a class away."""
    if has_batch_norm(network):
        return None
    busy = 0 if on_host(like) else PLAIN // largest_map(network, like)
    return max(1, max(chunk, busy) // n)


class Lineup:
    """K classes in an order, their real batches, and the augmentation of both sides' images.

    Args:
        draws: what each class's images go through, Siamese, on the CPU.
        rows: of the real images of each class, (n,) on the CPU.
        sizes: synthetic images of each class.
    """

    def __init__(
        self, augment: Policy, draws: Sequence[Draw], rows: Sequence[Tensor], sizes: Sequence[int], real: Resident
    ):
        self.augment, self.data = augment, real
        self.order = list(range(len(draws)))
        self.beside = not on_host(real.images)
        if self.beside:
            self.order.sort(key=lambda label: (sizes[label], len(rows[label]), draws[label].operation))
        self.moved = self.order != sorted(self.order)
        self.draws = [draws[label] for label in self.order]
        self.sizes, self.real = [sizes[label] for label in self.order], [len(rows[label]) for label in self.order]
        places = torch.arange(sum(sizes)).split(list(sizes))
        there = torch.cat([places[label] for label in self.order])
        labels = torch.tensor(self.order)
        answers = torch.arange(len(labels)).repeat_interleave(torch.tensor(self.real))  # (N,) places of real images
        whole = torch.cat([rows[label] for label in self.order])
        self.rows, self.labels, self.answers, self.there, self.back = sent_together(
            [whole, labels, answers, there, there.argsort()], real.images.device
        )
        self.parameters: Tensor | None = None  # (most of a draw, K)
        if self.beside:
            table = pad_sequence([draw.parameters[:, 0].float() for draw in self.draws])
            self.parameters = sent(table, real.images.device)

    def arranged(self, images: Tensor) -> Tensor:
        """What lies class by class, (V, ...), in the line's order."""
        return images.index_select(0, self.there) if self.moved else images

    def returned(self, images: Tensor) -> Tensor:
        """What lies in the line's order, (V, ...), class by class."""
        return images.index_select(0, self.back) if self.moved else images

    def parts(self, most: int | None) -> list[tuple[int, int]]:
        """Places that go through a network in one batch: `most` of them, where they stand beside each other of as many
        images each; None: all."""
        apart = self.beside and most is not None
        keys = [pair if apart else None for pair in zip(self.sizes, self.real, strict=True)]
        return runs(keys, most)

    def span(self, first: int, stop: int) -> slice:
        """Where the synthetic images of these places lie."""
        return slice(sum(self.sizes[:first]), sum(self.sizes[:stop]))

    def real_images(self, first: int, stop: int) -> Tensor:
        """The real batches (n, c, h, w) of these places, under their draws."""
        index = self.rows[sum(self.real[:first]) : sum(self.real[:stop])]
        return self._changed(self.data.batch(index), first, self.real[first:stop])

    def changed(self, images: Tensor, first: int, stop: int) -> Tensor:
        """The synthetic images (n, c, h, w) of these places under their draws."""
        return self._changed(images, first, self.sizes[first:stop])

    def _changed(self, images: Tensor, first: int, sizes: Sequence[int]) -> Tensor:
        draws = self.draws[first : first + len(sizes)]
        if self.parameters is None:
            pairs = zip(images.split(list(sizes)), draws, strict=True)
            return joined([self.augment(block, draw) for block, draw in pairs])
        alike = runs([(n, draw.operation) for n, draw in zip(sizes, draws, strict=True)])
        blocks = []
        for (at, stop), own in zip(alike, images.split([sum(sizes[slice(*part)]) for part in alike]), strict=True):
            if stop - at <= FEW and draws[at].operation in READ:
                pairs = zip(own.split(sizes[at]), draws[at:stop], strict=True)
                blocks += [self.augment(block, draw) for block, draw in pairs]
                continue
            rows = self.parameters[: len(draws[at].parameters), first + at : first + stop]
            every = rows[:, :, None].expand(-1, -1, sizes[at]).flatten(1)  # a column an image
            blocks.append(self.augment(own, Draw(draws[at].operation, every)))
        return joined(blocks)


def joined(blocks: Sequence[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(list(blocks))


def runs(keys: Sequence[object], most: int | None = None) -> list[tuple[int, int]]:
    """Where neighbours of the same key begin and end, `most` (None: any number) of them together."""
    found: list[tuple[int, int]] = []
    for at, key in enumerate(keys):
        if found and key == keys[found[-1][0]] and (most is None or at - found[-1][0] < most):
            found[-1] = found[-1][0], at + 1
        else:
            found.append((at, at + 1))
    return found
