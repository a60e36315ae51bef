"""The gradient of a step of an unrolled walk, and what is pulled back through it, as one launch each (captured.py)."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from ddpipe.training import captured
from ddpipe.training.batch import Batch
from ddpipe.training.captured import Captured, Recorder
from ddpipe.training.sweep import Gradient


class Replayed(Gradient):
    """`plain` captured by `how`: a function for a step, and one for each choice of what is wanted. Results are copies.

    A walk keeps what its steps give, and a captured step writes to the same memory each time.
    """

    def __init__(self, plain: Gradient, how: Recorder | None):
        super().__init__(plain.network)
        self.plain, self.how, self.meets = plain, how, plain.meets
        self.step = Captured(lambda theta, *batch: plain(theta, Batch(*batch)), how)
        self.back = cache(self.capture_back)

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        return self.step(theta, *batch).clone()

    def capture_back(self, *wanted: str) -> Callable[..., dict[str, Tensor]]:
        plain = self.plain
        return Captured(lambda theta, along, *batch: plain.pull_back(theta, Batch(*batch), along, wanted), self.how)

    def pull_back(self, theta: Tensor, batch: Batch, along: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        found = self.back(*wanted)(theta, along, *batch)
        return {name: torch.clone(part) for name, part in found.items()}


def replayed(plain: Gradient, device: torch.device) -> Gradient:
    """`plain`, captured if steps on `device` can be."""
    how = captured.recorder(device)
    return plain if how is None else Replayed(plain, how)
