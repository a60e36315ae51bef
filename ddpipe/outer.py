"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from typing import Any

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss


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
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, entry in state.items() for name, value in entry.items() if value is not None}


def unpack_(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """Give an optimiser back what `pack` took from one like it."""
    entries: dict[int, dict[str, Any]] = {}
    for key, value in state.items():
        number, name = key.split(".", 1)
        entries.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
