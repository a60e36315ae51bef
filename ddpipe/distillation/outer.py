"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss
from ddpipe.training.sgd import Sgd


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
