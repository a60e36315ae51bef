"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError


class Loss(NamedTuple):
    """What an objective yields: a value and where its gradient starts.

    An objective may take the gradient up to the decoded images by itself, part by part, to hold one part's graph at a
    time instead of all: then `output` is the images and `gradient` the value's with respect to them. What is learned
    behind the images gets the same gradient as from the value itself.
    """

    value: Tensor  # () what is logged and checked for NaN
    output: Tensor  # the value, or the images (n, c, h, w) decoded with the graph of what is learned
    gradient: Tensor | None = None  # like output; None: output is the value

    def gradients(self, learned: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The value's gradient with respect to each of the tensors `learned`."""
        return torch.autograd.grad(self.output, learned, self.gradient)


class Outer:
    """SGD with momentum, no dampening, no weight decay, one learning rate a parameter group."""

    def __init__(self, groups: dict[str, list[Tensor]], config: dict[str, settings.Sgd]):
        if groups.keys() != config.keys():
            raise UserError(f"outer: has {sorted(config)}, but what is learned is {sorted(groups)}; name exactly these")
        self.learned = [tensor for tensors in groups.values() for tensor in tensors]
        self.optimizer = torch.optim.SGD([{"params": groups[name], **config[name].model_dump()} for name in groups])

    def step(self, loss: Loss) -> None:
        for tensor, gradient in zip(self.learned, loss.gradients(self.learned), strict=True):
            tensor.grad = gradient
        self.optimizer.step()

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.optimizer)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        unpack_(self.optimizer, state)


def pack(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors an optimiser carries from step to step, as `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"].items()
    return {f"{number}.{name}": value for number, entry in state for name, value in entry.items() if value is not None}


def unpack_(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """Give an optimiser back what `pack` took from one like it."""
    entries: dict[int, dict[str, Any]] = {}
    for key, value in state.items():
        number, name = key.split(".", 1)
        entries.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
