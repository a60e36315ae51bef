"""What an objective yields for every outer step."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Loss(NamedTuple):
    """What an objective yields: a value and where its gradient starts.

    An objective may take the gradient up to the decoded images by itself, part by part, to hold one part's graph at a
    time instead of all: then `output` is the images and `gradient` the value's with respect to them. What is learned
    behind the images gets the same gradient as from the value itself.
    """

    value: Tensor  # () what is logged and checked for NaN
    output: Tensor | Sequence[Tensor]  # the value, or images (n, c, h, w) decoded with the graph of what is learned
    gradient: Tensor | Sequence[Tensor] | None = None  # like output; None: output is the value

    def gradients(self, learned: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The value's gradient with respect to each of the tensors `learned`; zeros where it does not depend on one."""
        return torch.autograd.grad(self.output, learned, self.gradient, materialize_grads=True)
