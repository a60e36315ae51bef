"""The gradient of a step of an unrolled walk, and what is pulled back through it, as one launch each (captured.py)."""

from collections.abc import Sequence
from functools import partial

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
        self.backs: dict[tuple[str, ...], Captured] = {}

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        return self.step(theta, *batch).clone()

    def keeps(self, theta: Tensor, batches: Sequence[Batch]) -> int:
        """None: to launch a step again costs less than hundreds of kernels by which a kept graph is gone through."""
        return 0

    def pull_back(self, theta: Tensor, batch: Batch, along: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        if tuple(wanted) not in self.backs:
            self.backs[tuple(wanted)] = Captured(partial(back, self.plain, tuple(wanted)), self.how)
        found = self.backs[tuple(wanted)](theta, along, *batch)
        return {name: part.clone() for name, part in found.items()}


def back(plain: Gradient, wanted: Sequence[str], theta: Tensor, along: Tensor, *batch: Tensor) -> dict[str, Tensor]:
    """`Gradient.pull_back`, a function of tensors last."""
    return plain.pull_back(theta, Batch(*batch), along, wanted)


def replayed(plain: Gradient, device: torch.device) -> Gradient:
    """`plain`, captured if steps on `device` can be."""
    how = captured.recorder(device)
    return plain if how is None else Replayed(plain, how)
