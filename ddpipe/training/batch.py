"""What a parametrisation decodes to and a network trains on, and the order in which it is gone through."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddpipe.sending import sent


class Batch(NamedTuple):
    images: Tensor  # (n, c, h, w) in the run's pixel space
    targets: Tensor  # (n, K) distribution over classes; one-hot for hard labels


def rows_of(whole: Batch) -> Callable[[Tensor | slice], Batch]:
    """Row numbers, of the host, -> images and targets of a set that lies on the device."""

    def fetch(index: Tensor | slice) -> Batch:
        rows = index if isinstance(index, slice) else sent(index, whole.images.device)
        return Batch(whole.images[rows], whole.targets[rows])

    return fetch


def chunks(n: int, batch: int | None, rng: torch.Generator) -> Iterator[Tensor]:
    """0, ..., n - 1 in random order, `batch` at a time (None: all), over and over, the last chunk first.

    MTT's official queue: a permutation is cut into chunks that are popped from its end, so a short one comes first.
    """
    while True:
        yield from reversed(torch.randperm(n, generator=rng).split(batch or n))


def balanced(sizes: Sequence[int], n: int, rng: torch.Generator) -> Iterator[Tensor]:
    """`n` random rows of every class (all of a smaller one), class by class, drawn anew each time, over and over.

    Args:
        sizes: rows of each class; they lie class by class.
    """
    bounds = list(pairwise([0, *accumulate(sizes)]))
    while True:
        yield torch.cat([first + torch.randperm(end - first, generator=rng)[:n] for first, end in bounds])


def blocks(sizes: Sequence[int], n: int) -> Iterator[Tensor]:
    """Rows in their order, `n` of every class at a time, over and over: DD's blocks (Wang et al., 2018).

    Block b holds the rows b n, ..., b n + n - 1 of each class; a class with fewer is absent from the last blocks.

    Args:
        sizes: rows of each class; they lie class by class.
    """
    classes = torch.arange(sum(sizes)).split(list(sizes))
    return cycle([torch.cat([rows[b : b + n] for rows in classes]) for b in range(0, max(sizes), n)])
