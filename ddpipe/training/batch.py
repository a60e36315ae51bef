"""What a parametrisation decodes to and a network trains on, and the order in which it is gone through."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    images: Tensor  # (n, c, h, w) in the run's pixel space
    targets: Tensor  # (n, K) distribution over classes; one-hot for hard labels


def chunks(n: int, batch: int | None, rng: torch.Generator) -> Iterator[Tensor]:
    """0, ..., n - 1 in random order, `batch` at a time (None: all), over and over, the last chunk first.

    MTT's official queue: a permutation is cut into chunks that are popped from its end, so a short one comes first.
    """
    while True:
        yield from reversed(torch.randperm(n, generator=rng).split(batch or n))
