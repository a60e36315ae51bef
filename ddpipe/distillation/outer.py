"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.training.sgd import Sgd


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


class Outer:
    """SGD with momentum and a learning rate of its own for each group of what is learned."""

    def __init__(self, groups: dict[str, list[Tensor]], config: dict[str, settings.Sgd]):
        if groups.keys() != config.keys():
            raise UserError(f"outer: has {sorted(config)}, but what is learned is {sorted(groups)}; name exactly these")
        self.optimizers = {name: Sgd(groups[name], **config[name].model_dump()) for name in groups}

    def step(self, loss: Loss) -> None:
        gradients = iter(loss.gradients([p for o in self.optimizers.values() for p in o.parameters]))
        for optimizer in self.optimizers.values():
            optimizer.step([next(gradients) for _ in optimizer.parameters])

    def state_dict(self) -> dict[str, Tensor]:
        """`<group>.<number>` -> velocity."""
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {f"{name}.{number}": value for name, state in states.items() for number, value in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict({number: state[f"{name}.{number}"] for number in optimizer.state_dict()})
