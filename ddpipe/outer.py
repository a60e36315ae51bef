"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError


class Loss(NamedTuple):
    """What an objective yields: `pull.backward()` leaves the gradient in the learned tensors.

    An objective that takes its gradient class by class, to hold one class's graph instead of all, hands back the
    surrogate sum(images * gradient): the decoder behind the images gets the same gradient from it.
    """

    value: Tensor  # () what is logged and checked for NaN
    pull: Tensor  # ()


class Outer:
    """SGD with momentum, no dampening, no weight decay, one learning rate a parameter group."""

    def __init__(self, groups: dict[str, list[Tensor]], config: dict[str, settings.Sgd]):
        if groups.keys() != config.keys():
            raise UserError(f"outer: has {sorted(config)}, but what is learned is {sorted(groups)}; name exactly these")
        self.optimizer = torch.optim.SGD([{"params": groups[name], **config[name].model_dump()} for name in groups])

    def step(self, loss: Loss) -> None:
        self.optimizer.zero_grad()
        loss.pull.backward()
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
