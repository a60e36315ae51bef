"""A set's moving average over its own distillation, which FTD hands over in its place (Du et al., CVPR 2023)."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Average:
    """e <- decay e + (1 - decay) x after every iteration, from e = x at the start, without a correction for that.

    A decay of 0.9999 over 5000 iterations leaves 61 % of the start in it.

    Args:
        tensors: x, what is learned of the set.
    """

    def __init__(self, tensors: Iterable[Tensor], decay: float):
        self.tensors, self.decay = list(tensors), decay
        self.values = [x.detach().clone() for x in self.tensors]

    @torch.no_grad()
    def begin(self) -> None:
        """e = x once more: what came before is not averaged."""
        torch._foreach_copy_(self.values, self.tensors)

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self.values, self.tensors, 1 - self.decay)

    @torch.no_grad()
    def replace_(self) -> None:
        """What is learned becomes its average."""
        torch._foreach_copy_(self.tensors, self.values)

    def state_dict(self) -> dict[str, Tensor]:
        return {str(number): value for number, value in enumerate(self.values)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for number, value in enumerate(self.values):
            value.copy_(state[str(number)])
