"""SGD with momentum and weight decay as torch.optim.SGD computes it, its state plain tensors.

Why not torch.optim's: constructing its first optimiser costs a process more than a second of imports, which a stage of
a few seconds pays every time; and a state made of tensors alone goes into a checkpoint as it is.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class Sgd:
    """v <- momentum v + (g + weight_decay p);  p <- p - lr v;  v starts at zero, no dampening.

    Args:
        parameters: changed in place by `step`.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity = [torch.zeros_like(p) for p in self.parameters] if momentum else []

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step along `gradients`, one a parameter, in order; they are left as they are."""
        moves = list(gradients)
        if self.weight_decay:
            moves = list(torch._foreach_add(moves, self.parameters, alpha=self.weight_decay))
        if self.momentum:
            torch._foreach_mul_(self.velocity, self.momentum)
            torch._foreach_add_(self.velocity, moves)
            moves = self.velocity
        torch._foreach_add_(self.parameters, moves, alpha=-self.lr)

    def forget(self) -> None:
        """Start again from rest, as a new optimiser would."""
        for velocity in self.velocity:
            velocity.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        return {str(number): velocity for number, velocity in enumerate(self.velocity)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for number, velocity in enumerate(self.velocity):
            velocity.copy_(state[str(number)])
